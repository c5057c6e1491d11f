package MailFilter::Releases;
use strict;
use warnings;
use Amavis::In::AMPDP ();
use Amavis::Out::EditHeader ();
use Amavis::Util qw(proto_decode proto_encode);
use MailFilter::PolicyFile ();
use MailFilter::ReleaseRecord ();
use MailFilter::Signing ();

# Releases and reports that carry a key, as policy_bank=RELEASE-<key>: under one key a recipient gets a mail once, however often the
# request is repeated and whatever breaks off in between. amavis has no hook in AM.PDP, so functions of it are wrapped.

my $RECEIPT = 'X-Release-Receipt';
# Postfix was sent the whole mail, or may have been, and what it said to that is not known.
my $UNANSWERED = qr/ resp\. to data-dot|during fwd-(?:data-end|rundown-1)\b/;

my ($preprocess, $dispatch, $held);
my $record_name;    # of the request in work; undef for a request without a key
my $notify;         # when Postfix shall tell the sender that a recipient did not get it
my $receipt;        # by which Postfix knows the attempt that is under way

sub install {
  no warnings 'redefine';
  $preprocess = \&Amavis::In::AMPDP::preprocess_policy_query;
  $dispatch = \&Amavis::In::AMPDP::dispatch_from_quarantine;
  $held = \&Amavis::In::AMPDP::msg_from_quarantine;
  *Amavis::In::AMPDP::preprocess_policy_query = sub ($$) { preprocess(@_) };
  *Amavis::In::AMPDP::dispatch_from_quarantine = sub ($$$) { release(@_) };
  *Amavis::In::AMPDP::msg_from_quarantine = sub ($$$) { marked($held->(@_)) };
  return;
}

sub preprocess {
  my ($attributes, $connection) = @_;
  MailFilter::PolicyFile::refresh();
  MailFilter::Signing::report();
  undef $receipt;
  $record_name = record_name($attributes);
  ($notify) = ($attributes->{notify} // 'NEVER') =~ /\A(NEVER|FAILURE)\z/ or die "malformed notify\n";
  return $preprocess->($attributes, $connection);
}

sub record_name {
  my ($attributes) = @_;
  my $bank = $attributes->{policy_bank};
  return if !defined $bank;
  my ($key) = $bank =~ /\ARELEASE-([A-Za-z0-9-]{1,64})\z/ or die "malformed policy_bank\n";
  my ($mail_id) = ($attributes->{mail_id} // '') =~ /\A([A-Za-z0-9][A-Za-z0-9_-]{0,31})\z/ or die "malformed mail_id\n";
  # Postfix may refuse one of several and take the mail for the others: then its receipt would not tell for whom.
  defined $attributes->{recipient} && !ref $attributes->{recipient} or die "a release with a key has one recipient\n";
  my $report = lc($attributes->{request}) eq 'report' ? '_report' : '';
  return "$key$report.$mail_id";
}

sub release {
  my ($mail, $request, $feedback_type) = @_;
  # RFC 6430. amavis takes every report for one of abuse.
  my @request = ($request, $request eq 'report' ? 'not-spam' : $feedback_type);
  return $dispatch->($mail, @request) if !defined $record_name;
  my $record = MailFilter::ReleaseRecord->take($record_name) or return set_reply('450 4.5.0 release in progress');
  my $past = $record->content;
  return set_reply('450 4.5.0 release interrupted') if $past->{state} eq 'started';

  my %reply;
  @reply{ @{ $past->{recipients} || [] } } = @{ $past->{replies} || [] };
  my ($recipient) = @{ $mail->per_recip_data };
  my $address = text($recipient->recip_addr);
  return set_reply($reply{$address}) if taken($reply{$address});

  $receipt = new_receipt();
  $record->replace({ content('started', \%reply), receipt => $receipt, recipient => $address });
  # The senders of held mail are often forged: what the next hop refuses must not be sent to them.
  $recipient->dsn_notify([$notify]);
  $mail->dsn_ret('HDRS');
  my ($reply) = replies($dispatch->($mail, @request));
  $reply //= '450 4.5.0 no reply';
  return set_reply('450 4.5.0 release interrupted') if !taken($reply) && $reply =~ $UNANSWERED;
  $reply{$address} = $reply;
  $record->replace({ content('done', \%reply) });
  return set_reply($reply);
}

# A name for one attempt, which nobody can guess; the first eight digits are the time.
sub new_receipt {
  open(my $random, '<:raw', '/dev/urandom') or die "/dev/urandom: $!\n";
  read($random, my $octets, 12) == 12 or die "/dev/urandom: $!\n";
  return sprintf('%08x', time) . unpack('H*', $octets);
}

# What leaves the quarantine under a key carries its receipt. A report has no edits: its header is new.
sub marked {
  my ($mail) = @_;
  return $mail if !defined $receipt;
  $mail->header_edits(Amavis::Out::EditHeader->new) if !$mail->header_edits;
  drop_forged($mail, $mail->header_edits);
  $mail->header_edits->prepend_header($RECEIPT, $receipt);
  return $mail;
}

sub drop_forged {
  my ($mail, $edits) = @_;
  $edits->delete_header($RECEIPT);
  return;
}

# amavis also says 250 when there was nothing to do, but not 250 2.0.0.
sub taken { return ($_[0] // '') =~ /\A250 2\.0\.0 / }

sub content {
  my ($state, $reply) = @_;
  my @recipients = sort keys %$reply;
  return (state => $state, recipients => \@recipients, replies => [ map { $reply->{$_} } @recipients ]);
}

sub replies { return map { /\Asetreply=(.*)\z/s ? text(proto_decode($1)) : () } @_ }

sub text {
  my ($octets) = @_;
  utf8::decode($octets);
  return $octets;
}

sub set_reply {
  my ($octets) = @_;
  utf8::encode($octets);
  return proto_encode('setreply', split / /, $octets, 3);
}

1;
