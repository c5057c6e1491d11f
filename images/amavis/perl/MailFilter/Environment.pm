package MailFilter::Environment;
use strict;
use warnings;
use Exporter 'import';

our @EXPORT_OK = qw(environment);

# The value of a variable, which has to match the pattern as a whole; the capture untaints it.
sub environment {
  my ($name, $pattern) = @_;
  my $value = $ENV{$name};
  defined $value or die "the environment variable $name is missing\n";
  $value =~ /\A($pattern)\z/ or die "the environment variable $name is malformed\n";
  return $1;
}

1;
