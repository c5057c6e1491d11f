package MailFilter::Peers;
use strict;
use warnings;
use Socket qw(IPPROTO_TCP SOL_SOCKET SO_KEEPALIVE TCP_KEEPIDLE TCP_KEEPINTVL TCP_USER_TIMEOUT);

# amavis notices at once, or in half a minute, that clamd or the MTA went away. By itself it waits for clamd's answer until
# the timer of the mail ends, minutes later, and all its children may be doing so while another clamd idles.

sub install {
  no warnings qw(once redefine);
  my $connect = \&Amavis::IO::RW::connect_attempt;
  *Amavis::IO::RW::connect_attempt = sub { return notice_lost_peers($connect->(@_)) };
  my $scan = \&Amavis::AV::clamav_clamd_internal;
  my $next_line = \&Amavis::IO::RW::get_response_line;
  *Amavis::AV::clamav_clamd_internal = sub {
    local *Amavis::IO::RW::get_response_line = sub { return answered($next_line->(@_)) };
    return $scan->(@_);
  };
  return;
}

# A node that is lost sends no FIN. A peer that is alive, however busy, acknowledges at once. Seconds; the last one
# milliseconds.
sub notice_lost_peers {
  my ($socket) = @_;
  return $socket if !$socket || $socket->sockdomain == Socket::AF_UNIX;
  setsockopt($socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  setsockopt($socket, IPPROTO_TCP, TCP_KEEPIDLE, 10);
  setsockopt($socket, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  setsockopt($socket, IPPROTO_TCP, TCP_USER_TIMEOUT, 20_000);
  return $socket;
}

# At the end of the connection there is no line, ever: amavis would ask for one again and again.
sub answered {
  my ($line) = @_;
  defined $line or die "clamd ended the connection before it had answered\n";
  return $line;
}

1;
