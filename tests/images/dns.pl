# A DNS server for tests: records of its arguments (name=address, name=TYPE:data), PTR records of the addresses, NXDOMAIN for
# other names; prints what it is asked for. "*=address" answers every other name; with name=silent nothing is said about that
# name and all below.
use strict;
use warnings;
use Net::DNS::Nameserver;
use Net::DNS::RR;

STDOUT->autoflush;
my (%records, %names, @silent);
for (@ARGV) {
    my ($name, $what) = split /=/, $_, 2;
    if ($what eq 'silent') { push @silent, $name; next }
    my ($type, $data) = $what =~ /\A([A-Z]+):(.*)\z/s ? ($1, $2) : ('A', $what);
    push @{ $records{ lc $name }{$type} }, $data;
    $names{ join('.', reverse split /\./, $data) . '.in-addr.arpa' } //= $name if $type eq 'A';
}

sub reply {
    my ($name, $class, $type) = @_;
    print "asked for $name $type\n";
    return if grep { ".$name" =~ /\.\Q$_\E\z/i } @silent;
    my $host = $names{ lc $name };
    return ('NOERROR', [ Net::DNS::RR->new("$name 1 PTR $host.") ], [], [], { aa => 1 }) if $host && $type eq 'PTR';
    my $found = $records{ lc $name } // $records{'*'} or return ('NXDOMAIN', [], [], [], { aa => 1 });
    my @answer = map { record($name, $type, $_) } @{ $found->{$type} || [] };
    return ('NOERROR', \@answer, [], [], { aa => 1 });
}

sub record {
    my ($name, $type, $data) = @_;
    return Net::DNS::RR->new("$name 1 $type $data") if $type ne 'TXT';
    return Net::DNS::RR->new(name => $name, ttl => 1, type => 'TXT', txtdata => [ unpack '(a255)*', $data ]);
}

my $server = Net::DNS::Nameserver->new(LocalAddr => ['0.0.0.0'], LocalPort => 53, ReplyHandler => \&reply)
    or die 'cannot listen';
$server->start_server(86400);
print "ready\n";
sleep 1 while 1;
