package MailFilter::ReleaseRecord;
use strict;
use warnings;
use Cpanel::JSON::XS ();
use Errno qw(EWOULDBLOCK);
use Fcntl qw(:flock O_CREAT O_RDWR);
use IO::Handle ();
use MailFilter::Files qw(read_octets replace_file);

# What became of one release of one mail, kept beside the mail so that it outlives every process.

my $DIRECTORY = '/var/lib/amavis/quarantine/.releases';
my $JSON = Cpanel::JSON::XS->new->utf8->canonical;

# The record, locked as long as the object lives; undef while another process has it.
sub take {
  my ($class, $name) = @_;
  my $path = "$DIRECTORY/$name";
  while (1) {
    sysopen(my $handle, $path, O_RDWR | O_CREAT, 0640) or die "$path: $!\n";
    if (!flock($handle, LOCK_EX | LOCK_NB)) {
      return if $! == EWOULDBLOCK;
      die "$path: $!\n";
    }
    # Whoever had the lock before may have put another file in its place.
    return bless { path => $path, handle => $handle }, $class if same_file($handle, $path);
  }
}

sub same_file {
  my ($handle, $path) = @_;
  my @opened = stat($handle);
  my @named = stat($path);
  return @named && $opened[0] == $named[0] && $opened[1] == $named[1];
}

# What cannot be read counts as started: nobody knows how it ended.
sub content {
  my ($self) = @_;
  my $octets = read_octets($self->{path});
  return { state => 'new' } if $octets eq '';
  my $content = eval { $JSON->decode($octets) };
  return ref $content eq 'HASH' ? $content : { state => 'started' };
}

sub replace {
  my ($self, $content) = @_;
  my $locked;
  replace_file($self->{path}, $JSON->encode($content), sub {
    ($locked) = @_;
    flock($locked, LOCK_EX | LOCK_NB) or die "$self->{path}: $!\n";
  });
  $self->{handle} = $locked;
  # The name as well has to survive a crash of the machine.
  open(my $directory, '<', $DIRECTORY) or die "$DIRECTORY: $!\n";
  $directory->sync or die "$DIRECTORY: $!\n";
  return;
}

1;
