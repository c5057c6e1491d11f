package MailFilter::DnsLists;
use strict;
use warnings;
use Mail::SpamAssassin::AsyncLoop ();
use Mail::SpamAssassin::PerMsgStatus ();
use Net::DNS::Packet ();

# DNS lists refuse the questions of resolvers that ask for too many. Such an answer is no listing: it counts for no test but
# those that tell of it, and the report names it.

# What lists answer to a resolver that they do not serve. Tests without a value, and those of single bits, match it.
my $REFUSAL = qr/\A127\.255\.255\.\d+\z/;

our $answer;        # of the lookup that is judged, if one is
my %refused;        # of the mail

sub install {
  no warnings 'redefine';
  my $lookup = \&Mail::SpamAssassin::AsyncLoop::bgsend_and_start_lookup;
  *Mail::SpamAssassin::AsyncLoop::bgsend_and_start_lookup = sub {
    my ($loop, $name, $type, $class, $entry, $callback, @options) = @_;
    my $judge = $callback && sub { local $answer = $_[1]; return &$callback };
    return $lookup->($loop, $name, $type, $class, $entry, $judge, @options);
  };
  my $hit = \&Mail::SpamAssassin::PerMsgStatus::got_hit;
  *Mail::SpamAssassin::PerMsgStatus::got_hit = sub { return $answer && refused($_[1]) ? undef : &$hit };
  return;
}

sub start_mail { %refused = (); return }

# Names of the tests whose lists refused to answer.
sub found { return sort keys %refused }

# Whether a test matches nothing but a refusal. Those that tell of refusals have it in their names.
sub refused {
  my ($test) = @_;
  my ($name) = $test =~ /\A_*(.+)\z/;
  my $tells = $name =~ /BLOCKED/;
  my $is_refusal = grep { $_->type eq 'A' && $_->address =~ $REFUSAL } $answer->answer;
  $refused{$name} = 1 if $tells || $is_refusal && $name eq $test;
  return $is_refusal && !$tells;
}

1;
