package MailFilter::Senders;
use strict;
use warnings;
use Amavis::Conf qw(:platform);
use Amavis::Util qw(idn_to_ascii unique_list);
use Amavis::rfc2821_2822_Tools qw(make_query_keys split_address);
use Exporter 'import';
use MailFilter::Schema qw(text number boolean list mapping object either);

our @EXPORT_OK = qw(senders_check sender_lists judge held_as_denied);

# Allowed and denied senders and the scores of others. They replace amavis' own white_black_list, in which an allowed sender
# goes before a denied one, and in which a sender without a domain is taken for the null sender.

my $key = text(qr/[\x20-\x7e]{0,320}/);
my $one = qr/(?:[A-Za-z0-9_\@=%&~'-]|\\[.+*?^\$|(){}\[\]\/-]|\\d|\.|\[(?:a-z|A-Z|0-9|[A-Za-z0-9_.+=])+-?\])/;
my $item = qr/(?:$one\??|\($one+(?:\|$one+)*\)\??)/;
my $regexp = text(qr/(?=.{1,256}\z)\^?$item*(?:$one[*+]$item*){0,2}\$?/);

my $lists = object({
  allow => list($key),
  deny => list($key),
  scores => list(either(
    object({ sender => $key, score => number() }),
    object({ senderRegexp => $regexp, score => number() }),
  )),
});

my $files = mapping(text(qr/senders-[0-9]\.gz/), text(qr/[0-9a-f]{64}/));

sub senders_check {
  return object({ default => $lists, by => mapping($key, $lists), files => $files, quarantineDenied => boolean() });
}

# What is looked up, made of what was checked; `long` in `default` is for whoever has the files.
sub sender_lists {
  my ($checked) = @_;
  my $by = $checked->{by};
  return {
    default => level($checked->{default}),
    by => { map { lc($_) => level($by->{$_}) } keys %$by },
    files => $checked->{files},
    quarantineDenied => $checked->{quarantineDenied},
  };
}

sub level {
  my ($checked) = @_;
  return {
    allow => { map { $_ => 1 } @{ $checked->{allow} } },
    deny => { map { $_ => 1 } @{ $checked->{deny} } },
    scores => [ map { [ exists $_->{sender} ? $_->{sender} : compiled($_->{senderRegexp}), $_->{score} ] } @{ $checked->{scores} } ],
  };
}

sub compiled {
  my ($pattern) = @_;
  $pattern =~ s/(?<!\\)\$\z/\\z/;
  return qr/$pattern/i;
}

# In place of Amavis::SpamControl::white_black_list: marks each recipient, adds scores. Returns how many of them deny or allow
# the sender, and whether all do, so that SpamAssassin need not be asked.
sub judge {
  my ($lists, $mail) = @_;
  my $from = $mail->rfc2822_from;
  my @addresses = $mail->sender;
  push @addresses, ref $from ? @$from : $from if defined $from;
  my @senders = map { sender($_) } unique_list(\@addresses);
  my ($decided, $all) = (0, 1);
  for my $recipient (grep { !$_->recip_done } @{ $mail->per_recip_data }) {
    my @levels = levels($lists, $recipient->recip_addr);
    my $opinion = opinion(\@senders, \@levels);
    if ($opinion eq 'deny') {
      $recipient->recip_blacklisted_sender(1);
    } elsif ($opinion eq 'allow') {
      $recipient->recip_whitelisted_sender(1);
    } else {
      $all = 0;
      add_score($recipient, score(\@senders, \@levels));
      next;
    }
    $decided++;
  }
  return ($decided, $all);
}

# An address and the keys that stand for it.
sub sender {
  my ($address) = @_;
  return { address => '', keys => [''] } if $address eq '';
  my ($local, $domain) = split_address($address);
  $domain =~ s/\A\@//;
  $domain =~ s/\.+\z//;
  return { address => $address, keys => [] } if $domain eq '';
  $domain = lc(idn_to_ascii($domain) // $domain);
  $local = lc $local;
  my @keys = ("$local\@$domain", "$local\@", $domain);
  for (my $parent = $domain; ; $parent =~ s/\A[^.]*\.//) {
    push @keys, ".$parent";
    last if index($parent, '.') < 0;
  }
  return { address => "$local\@$domain", keys => \@keys };
}

# The lists of a recipient, of the domain alone that is declared for it, of all: the nearer ones decide.
sub levels {
  my ($lists, $recipient) = @_;
  my $by = $lists->{by};
  return $lists->{default} if !%$by;
  my ($keys) = make_query_keys($recipient, 1, 1);
  my @own = grep { $by->{$_} } @$keys;
  my @recipient = grep { index($_, '@') >= 0 } @own;
  my ($domain) = grep { index($_, '@') < 0 } @own;
  return ((map { $by->{$_} } @recipient, $domain // ()), $lists->{default});
}

sub opinion {
  my ($senders, $levels) = @_;
  my @keys = map { @{ $_->{keys} } } @$senders;
  for my $level (@$levels) {
    my $long = $level->{long};
    my $marks = $long ? join '', map { $_ // '' } @{$long}{@keys} : '';
    return 'deny' if index($marks, 'D') >= 0 || grep { exists $level->{deny}{$_} } @keys;
    return 'allow' if $marks ne '' || grep { exists $level->{allow}{$_} } @keys;
  }
  return '';
}

# The envelope's sender is asked about first, as in amavis; the first entry that matches decides.
sub score {
  my ($senders, $levels) = @_;
  for my $sender (@$senders) {
    my %is = map { $_ => 1 } @{ $sender->{keys} };
    for my $entry (map { @{ $_->{scores} } } @$levels) {
      my ($whom, $score) = @$entry;
      return $score if ref $whom ? substr($sender->{address}, 0, 320) =~ $whom : $is{$whom};
    }
  }
  return 0;
}

sub add_score {
  my ($recipient, $score) = @_;
  return if !$score;
  $recipient->spam_level(($recipient->spam_level || 0) + $score);
  my $test = 'AM.WBL=' . (0 + sprintf '%.3f', $score);
  my $tests = $recipient->spam_tests;
  $recipient->spam_tests([ \$test, $tests ? @$tests : () ]);
  return;
}

# Whether the mail in work is from a sender whom this recipient denies, and is to be stored whatever its score. Of a refused
# mail its sender knows.
sub held_as_denied {
  my ($lists, $address) = @_;
  return if !$lists->{quarantineDenied} || !$Amavis::MSGINFO;
  my ($recipient) = grep { $_->recip_addr eq $address } @{ $Amavis::MSGINFO->per_recip_data };
  return $recipient && $recipient->recip_blacklisted_sender && $recipient->recip_destiny != D_REJECT;
}

1;
