package MailFilter::Reports;
use strict;
use warnings;
use Amavis::JSON ();
use Errno qw(EMSGSIZE);
use Socket qw(AF_UNIX SOCK_DGRAM SOL_SOCKET SO_SNDTIMEO pack_sockaddr_un);

# amavis' structured report on a mail, to whoever listens.

my $LISTENER = '/run/amavis/report.sock';
# The kernel keeps ten datagrams for a busy listener; for one that hangs no mail waits longer than this.
my $PATIENCE = pack('l!l!', 0, 100_000);    # struct timeval: seconds, microseconds

# What these say of the mail in work is part of amavis' report.
sub install {
  my @findings = @_;
  no warnings 'redefine';
  my $report = \&Amavis::structured_report;
  *Amavis::structured_report = sub ($;$) { return { %{ &$report(@_) }, map { $_->() } @findings } };
  return;
}

sub send_report {
  my ($mail) = @_;
  return if !-S $LISTENER;
  my $report = Amavis::structured_report($mail);
  return if datagram($report) || $! != EMSGSIZE;
  delete @{$report}{qw(recipients rcpt_to message to_addr cc_addr)};
  datagram($report);
  return;
}

sub datagram {
  my ($report) = @_;
  my $octets = Amavis::JSON::encode($report);
  utf8::encode($octets);
  socket(my $socket, AF_UNIX, SOCK_DGRAM, 0) or return 0;
  setsockopt($socket, SOL_SOCKET, SO_SNDTIMEO, $PATIENCE) or return 0;
  return send($socket, $octets, 0, pack_sockaddr_un($LISTENER));
}

1;
