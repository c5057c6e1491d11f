# A DNS server for tests: names and addresses of its arguments (name=address), PTR records of those, NXDOMAIN for others.
# "*=address" answers every other name.
use strict;
use warnings;
use Net::DNS::Nameserver;
use Net::DNS::RR;

my (%addresses, %names);
for (@ARGV) {
    my ($name, $address) = split /=/;
    $addresses{ lc $name } = $address;
    $names{ join('.', reverse split /\./, $address) . '.in-addr.arpa' } //= $name;
}

sub reply {
    my ($name, $class, $type) = @_;
    my $address = $addresses{ lc $name } // $addresses{'*'};
    my $host = $names{ lc $name };
    return ('NOERROR', [ Net::DNS::RR->new("$name 1 PTR $host.") ], [], [], { aa => 1 }) if $host && $type eq 'PTR';
    return ('NXDOMAIN', [], [], [], { aa => 1 }) unless $address;
    return ('NOERROR', $type eq 'A' ? [ Net::DNS::RR->new("$name 1 A $address") ] : [], [], [], { aa => 1 });
}

my $server = Net::DNS::Nameserver->new(LocalAddr => ['0.0.0.0'], LocalPort => 53, ReplyHandler => \&reply)
    or die 'cannot listen';
$server->start_server(86400);
print "ready\n";
STDOUT->flush;
sleep 1 while 1;
