package MailFilter::SenderFiles;
use strict;
use warnings;
use CDB_File ();
use Compress::Zlib ();
use Digest::SHA qw(sha256_hex);
use Fcntl qw(LOCK_EX);
use MailFilter::Files qw(read_octets);

# Long lists of senders, compressed files beside policy.json, as one lookup table on disk: whoever accepts a policy first makes
# it, and all processes map it, so that a hundred thousand entries cost none of them memory.

my $MOUNTED = '/etc/mailfilter/policy';
my $MADE = '/run/amavis/senders';

# The table of these files, name => SHA-256: key => A or D. Dies with a reference when a file is still the one of another policy.
sub table {
  my ($files) = @_;
  my $path = path($files);
  make($path, $files) if !-e $path;
  tie my %table, 'CDB_File', $path or die "$path: $!\n";
  return \%table;
}

sub path {
  my ($files) = @_;
  my ($name) = sha256_hex(join "\n", map { "$_ $files->{$_}" } sort keys %$files) =~ /\A([0-9a-f]{64})\z/;
  return "$MADE/$name.cdb";
}

# One process at a time; the others find it made.
sub make {
  my ($path, $files) = @_;
  open(my $lock, '>', "$MADE/lock") or die "$MADE/lock: $!\n";
  flock($lock, LOCK_EX) or die "$MADE/lock: $!\n";
  return if -e $path;
  my @octets = map { checked($_, $files->{$_}) } sort keys %$files;
  my $table = CDB_File->new($path, "$path.new") or die "$path.new: $!\n";
  insert($table, $_) for @octets;
  $table->finish or die "$path: $!\n";
  return;
}

# A volume of several ConfigMaps may show a new policy beside an old list for a moment.
sub checked {
  my ($name, $hash) = @_;
  my $octets = eval { read_octets("$MOUNTED/$name") };
  die { waits_for => $name } if !defined $octets || sha256_hex($octets) ne $hash;
  return $octets;
}

sub insert {
  my ($table, $octets) = @_;
  my $lines = Compress::Zlib::memGunzip($octets);
  defined $lines or die "a file of senders is not compressed\n";
  pos($lines) = 0;
  while ($lines =~ /\G([AD]) ([\x21-\x7e]{0,320})\n/gc) {
    my ($mark, $key) = ($1, $2);    # of $2 itself CDB_File may see nothing
    $table->insert($key, $mark);
  }
  pos($lines) == length $lines or die "a file of senders has a malformed line\n";
  return;
}

# The tables of older policies. Who still has one open keeps it.
sub tidy {
  my ($files) = @_;
  my $current = path($files);
  for my $path (glob "$MADE/*.cdb") {
    my ($known) = $path =~ /\A(\Q$MADE\E\/[0-9a-f]{64}\.cdb)\z/ or next;
    unlink $known if $known ne $current;
  }
  return;
}

1;
