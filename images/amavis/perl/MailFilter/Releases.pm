package MailFilter::Releases;
use strict;
use warnings;
use Amavis::In::AMPDP ();
use Amavis::Util qw(proto_decode proto_encode);
use MailFilter::PolicyFile ();
use MailFilter::ReleaseRecord ();
use MailFilter::Signing ();

# Releases and reports that carry a key, as policy_bank=RELEASE-<key>: under one key a recipient gets a mail once, however often the
# request is repeated and whatever breaks off in between. amavis has no hook in AM.PDP, so two of its functions are wrapped.

my ($preprocess, $dispatch);
my $record_name;    # of the request in work; undef for a request without a key
my $notify;         # when Postfix shall tell the sender that a recipient did not get it

sub install {
  no warnings 'redefine';
  $preprocess = \&Amavis::In::AMPDP::preprocess_policy_query;
  $dispatch = \&Amavis::In::AMPDP::dispatch_from_quarantine;
  *Amavis::In::AMPDP::preprocess_policy_query = sub ($$) { preprocess(@_) };
  *Amavis::In::AMPDP::dispatch_from_quarantine = sub ($$$) { release(@_) };
  return;
}

sub preprocess {
  my ($attributes, $connection) = @_;
  MailFilter::PolicyFile::refresh();
  MailFilter::Signing::report();
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
  exists $attributes->{recipient} or die "a release with a key needs its recipients\n";
  my $report = lc($attributes->{request}) eq 'report' ? '_report' : '';
  return "$key$report.$mail_id";
}

sub release {
  my ($mail, $request, $feedback_type) = @_;
  # RFC 6430. amavis takes every report for one of abuse.
  my @request = ($request, $request eq 'report' ? 'not-spam' : $feedback_type);
  return $dispatch->($mail, @request) if !defined $record_name;
  my $record = MailFilter::ReleaseRecord->take($record_name) or return set_replies('450 4.5.0 release in progress');
  my $past = $record->content;
  return set_replies('450 4.5.0 release interrupted') if $past->{state} eq 'started';

  my %taken = taken($past);
  my @wanted = @{ $mail->per_recip_data };
  my @missing = grep { !exists $taken{ address($_) } } @wanted;
  return set_replies(map { $taken{ address($_) } } @wanted) if !@missing;

  $record->replace(content('started', \%taken));
  $mail->per_recip_data(\@missing);
  # The senders of held mail are often forged: what the next hop refuses must not be sent to them.
  $_->dsn_notify([$notify]) for @missing;
  $mail->dsn_ret('HDRS');
  my @replies = replies($dispatch->($mail, @request));
  my %outcome = %taken;
  @outcome{ map { address($_) } @missing } = map { $replies[$_] // '450 4.5.0 no reply' } 0 .. $#missing;
  $record->replace(content('done', \%outcome));
  return set_replies(map { $outcome{ address($_) } } @wanted);
}

# Replies of those who have the mail. amavis also says 250 when there was nothing to do, but not 250 2.0.0.
sub taken {
  my ($past) = @_;
  my %reply;
  @reply{ @{ $past->{recipients} || [] } } = @{ $past->{replies} || [] };
  return map { $_ => $reply{$_} } grep { $reply{$_} =~ /\A250 2\.0\.0 / } keys %reply;
}

sub content {
  my ($state, $reply) = @_;
  my @recipients = sort keys %$reply;
  return { state => $state, recipients => \@recipients, replies => [ map { $reply->{$_} } @recipients ] };
}

sub address { return text($_[0]->recip_addr) }

sub replies { return map { /\Asetreply=(.*)\z/s ? text(proto_decode($1)) : () } @_ }

sub text {
  my ($octets) = @_;
  utf8::decode($octets);
  return $octets;
}

sub set_replies {
  return map {
    my $octets = $_;
    utf8::encode($octets);
    proto_encode('setreply', split / /, $octets, 3);
  } @_;
}

1;
