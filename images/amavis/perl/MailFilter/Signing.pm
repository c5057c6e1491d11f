package MailFilter::Signing;
use strict;
use warnings;
use Amavis::Conf qw(:platform);
use Amavis::Util qw(idn_to_ascii);
use MailFilter::DkimKeys ();
use MailFilter::PolicyFile qw(policy);
use Scalar::Util qw(weaken);

# DKIM signatures of outgoing mail: by the keys of its author's domain, or by none. amavis would also sign for a Sender or an
# envelope's sender, that is, for mail with anybody's From.

# The port of outgoing mail, and the one where Postfix takes it back.
use constant PORT => 10028;
use constant BACK => 10029;
# The policy banks of outgoing mail, and of mail that is to be signed.
use constant BANK => 'OUTGOING';
use constant SIGNS => 'SIGNED';

# The field that amavis itself put on top of a mail that came by that port; its client there is Postfix.
my $port = PORT;
my $RECEIVED_FROM_INSIDE = qr{
  \A Received: \s+ from \s+ \S+ \s+ \( \[ [^\]\s]+ \] \)
  \s+ by \s+ \S+ \s+ \( \S+ \s+ \[ [^\]\s]+ \] \) \s+ \( amavis, \s+ port \s+ $port \) \s
}x;

my $mail_in_work;
my @keys;       # that sign it
my %options;    # of the signature in work

# For @dkim_signature_options_bysender_maps.
sub options { return { '.' => \%options } }

sub install {
  no warnings qw(once redefine);
  my $make = \&Amavis::DKIM::dkim_make_signatures;
  *Amavis::DKIM::dkim_make_signatures = sub ($$;$) {
    my ($mail, @rest) = @_;
    return signatures($mail, sub { $make->($mail, @rest) });
  };
  my $read = \&Amavis::In::AMPDP::msg_from_quarantine;
  *Amavis::In::AMPDP::msg_from_quarantine = sub ($$$) {
    my $mail = $read->(@_);
    send_out($mail);
    return $mail;
  };
  return;
}

sub is_outgoing {
  my ($mail) = @_;
  return $mail->conn_obj && ($mail->conn_obj->socket_port // 0) == PORT;
}

# Before anything is done with a mail. While no key of its domain can be used it waits: unsigned it would be taken for forged.
sub choose_keys {
  my ($mail) = @_;
  ($mail_in_work, @keys) = ();
  choose_keys_of_author($mail) if $mail && is_outgoing($mail);
  return;
}

sub choose_keys_of_author {
  my ($mail) = @_;
  my $wanted = keys_of(author_domain($mail));
  return if !@$wanted;
  ($mail_in_work, @keys) = ($mail, grep { defined } map { MailFilter::DkimKeys::usable($_) } @$wanted);
  weaken($mail_in_work);
  @keys or die "no DKIM key of $wanted->[0]{domain} can be used\n";
  return;
}

# Outgoing mail that is released: to the port where its recipients may be anywhere, and signed. Mail that came in by another
# port goes on to recipients inside alone, whoever its sender says to be.
sub send_out {
  my ($mail) = @_;
  ($mail_in_work, @keys) = ();
  # A report is the gateway's own, for recipients inside.
  return if $mail->mail_text->isa('MIME::Entity') || first_field($mail) !~ $RECEIVED_FROM_INSIDE;
  Amavis::load_policy_bank(BANK, $mail);
  Amavis::get_body_digest($mail, Amavis::Conf::c('mail_digest_algorithm'));
  Amavis::collect_some_info($mail);
  choose_keys_of_author($mail);
  Amavis::load_policy_bank(SIGNS, $mail) if @keys;
  my $method = Amavis::Conf::c('release_method');
  $method =~ s/:\d+\z/':' . BACK/e;
  $_->delivery_method($method) for @{ $mail->per_recip_data };
  return;
}

# Of a held mail behind those that amavis took off again.
sub first_field {
  my ($mail) = @_;
  my $file = $mail->mail_text;
  $file->seek($mail->skip_bytes, 0) or die "a held mail cannot be read again: $!\n";
  my $field = $file->getline // '';
  while (defined(my $line = $file->getline)) {
    last if $line !~ /\A[ \t]/;
    $field .= $line;
  }
  return $field;
}

sub signs { return scalar @keys }

# What can be said of all keys of the policy, for the agent.
sub report { return MailFilter::DkimKeys::report(policy('signing')->()) }

# The domain of the one author; undef of a mail that has none, or several, or several From fields: who reads it may see another.
sub author_domain {
  my ($mail) = @_;
  my $author = $mail->rfc2822_from;
  return if !defined $author || ref $author || defined $mail->get_header_field2('from', 1);
  my ($domain) = $author =~ /\@([^\@]+)\z/ or return;
  return lc(idn_to_ascii($domain) // '');
}

# What the policy says of a domain or else of the nearest one above it.
sub keys_of {
  my ($domain) = @_;
  my $signing = policy('signing')->();
  return [] if !defined $domain || !%$signing;
  return $signing->{$domain} if $signing->{$domain};
  while ($domain =~ s/\A[^.]*\././) {
    return $signing->{$domain} if $signing->{$domain};
    $domain =~ s/\A\.//;
  }
  return [];
}

# One signature for each key. amavis leaves infected mail and spam unsigned where a destiny lets it pass; of any other mail,
# that it cannot sign is no more than a line in its log.
sub signatures {
  my ($mail, $make) = @_;
  return if !$mail_in_work || $mail != $mail_in_work;
  my @signatures = map { signature($_, $make) } @keys;
  my @unsigned = grep { $mail->is_in_contents_category($_) } CC_VIRUS, CC_SPAM, CC_SPAMMY;
  @signatures || @unsigned or die "DKIM signing failed, see the log\n";
  return @signatures;
}

sub signature {
  my ($key, $make) = @_;
  my ($domain, $selector, $type) = @{$key}{qw(domain selector type)};
  %options = (d => $domain, s => $selector, a => "$type-sha256", c => 'relaxed/relaxed');
  # In place: amavis knows these by reference.
  @Amavis::Conf::dkim_signing_keys_storage = ([ $key->{private} ]);
  @Amavis::Conf::dkim_signing_keys_list =
    ({ domain => $domain, selector => $selector, k => $type, key_storage_ind => 0, key_ind => 0 });
  %Amavis::Conf::dkim_signing_keys_by_domain = ($domain => [0]);
  $mail_in_work->dkim_signwith_sd([ $selector, $domain ]);
  return $make->();
}

1;
