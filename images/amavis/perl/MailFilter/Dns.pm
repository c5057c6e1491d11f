package MailFilter::Dns;
use strict;
use warnings;
use Mail::DKIM::DNS ();
use Mail::SpamAssassin ();
use Mail::SpamAssassin::DnsResolver ();
use Net::DNS::Resolver ();
use Time::HiRes ();

# Whom DKIM, SPF, DMARC and SpamAssassin's lists ask, and how long a mail waits for what does not answer. All of these go
# through Net::DNS. Names of hosts, clamd's for one, do not: the C library looks them up with the pod's own resolver.

# Seconds that all lookups of a mail may take together for whose answer it waits: of keys, SPF and DMARC, not of lists,
# which are asked at the same time and have SpamAssassin's rbl_timeout. A mail may have hundreds of signatures, all of
# domains whose servers say nothing.
my $PATIENCE = 5;
my $left = $PATIENCE;
my $resolver;

sub install {
  my (@servers) = @_;
  Net::DNS::Resolver->new;              # reads resolv.conf into the defaults, once
  Net::DNS::Resolver->nameservers(@servers) if @servers;
  Net::DNS::Resolver->retry(2);
  Net::DNS::Resolver->retrans(1);       # 1 s, then 2 s
  Net::DNS::Resolver->tcp_timeout(3);
  # In place of amavis' own, which asks the servers of resolv.conf whatever the defaults are. As there: no search list, and
  # answers that fit into one packet.
  $Amavis::dns_resolver = $resolver = Net::DNS::Resolver->new(defnames => 0, dnsrch => 0);
  $resolver->udppacketsize(1220);
  no warnings 'redefine';
  my ($send, $send_of_spamassassin) = (\&Net::DNS::Resolver::Base::send, \&Mail::SpamAssassin::DnsResolver::send);
  *Net::DNS::Resolver::Base::send = sub {
    my ($self) = @_;
    return in_time($send, @_) || $self->errorstring('query timed out') && undef;
  };
  *Mail::SpamAssassin::DnsResolver::send = sub { return in_time($send_of_spamassassin, @_) };
  return;
}

sub start_mail {
  $left = $PATIENCE;
  Mail::DKIM::DNS::resolver($resolver);     # SpamAssassin puts its own there
  return;
}

sub in_time {
  my ($send, @question) = @_;
  return if $left <= 0;
  my $start = Time::HiRes::time();
  my $answer;
  my $done = eval { $answer = $send->(@question); 1 };      # others have alarms that end it
  my $error = $@;
  $left -= Time::HiRes::time() - $start;
  $done or die $error;
  return $answer;
}

1;
