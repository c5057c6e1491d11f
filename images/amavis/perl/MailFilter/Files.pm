package MailFilter::Files;
use strict;
use warnings;
use Exporter 'import';
use IO::Handle ();

our @EXPORT_OK = qw(read_octets replace_file);

sub read_octets {
  my ($path) = @_;
  open(my $handle, '<:raw', $path) or die "cannot be read: $!\n";
  local $/ = undef;
  my $octets = <$handle>;
  defined $octets or die "cannot be read: $!\n";
  return $octets;
}

# A reader sees the old content or the new, whole. The handle of the new file goes through `prepare` before anybody can see it.
sub replace_file {
  my ($path, $octets, $prepare) = @_;
  my $new = "$path.$$";
  eval {
    open(my $handle, '>:raw', $new) or die "$new: $!\n";
    $prepare->($handle) if $prepare;
    print {$handle} $octets or die "$new: $!\n";
    $handle->flush or die "$new: $!\n";
    $handle->sync or die "$new: $!\n";
    rename($new, $path) or die "$path: $!\n";
    1;
  } or do {
    my $error = $@;
    unlink($new);
    die $error;
  };
  return;
}

1;
