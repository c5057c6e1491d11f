package MailFilter::Schema;
use strict;
use warnings;
use Cpanel::JSON::XS ();
use Exporter 'import';
use builtin qw(created_as_number);
no warnings 'experimental::builtin';

our @EXPORT_OK = qw(text number integer boolean one_of optional either list mapping object);

# A checker takes a decoded JSON value and its path in the document. It returns a checked copy, untainted by capture, or
# dies with the path. There is no other way from the policy into amavis.

sub refuse {
  my ($path, $expected) = @_;
  die "$path: $expected expected\n";
}

sub text {
  my ($pattern) = @_;
  return sub {
    my ($value, $path) = @_;
    refuse($path, 'a string') if !defined $value || ref $value || created_as_number($value);
    $value =~ /\A($pattern)\z/ or die "$path: characters or a length that are not allowed\n";
    return $1;
  };
}

sub captured_number {
  my ($value, $path, $pattern, $expected) = @_;
  refuse($path, $expected) if !defined $value || ref $value || !created_as_number($value);
  $value =~ /\A($pattern)\z/ or refuse($path, $expected);
  return 0 + $1;
}

sub number { return sub { captured_number(@_, qr/-?\d{1,6}(?:\.\d{1,12})?/, 'a number') } }

sub integer { return sub { captured_number(@_, qr/\d{1,12}/, 'an integer') } }

sub boolean {
  return sub {
    my ($value, $path) = @_;
    refuse($path, 'true or false') if !Cpanel::JSON::XS::is_bool($value);
    return $value ? 1 : 0;
  };
}

sub one_of {
  my @allowed = @_;
  my $alternatives = join '|', map { quotemeta } @allowed;
  return sub {
    my ($value, $path) = @_;
    refuse($path, join ' or ', @allowed) if !defined $value || ref $value;
    $value =~ /\A($alternatives)\z/ or refuse($path, join ' or ', @allowed);
    return $1;
  };
}

sub optional {
  my ($checker) = @_;
  return sub { defined $_[0] ? $checker->(@_) : undef };
}

# The first that takes the value, or else the last one's refusal.
sub either {
  my @checkers = @_;
  my $last = pop @checkers;
  return sub {
    for my $checker (@checkers) {
      my $checked = eval { $checker->(@_) };
      return $checked if defined $checked;
    }
    return $last->(@_);
  };
}

sub list {
  my ($checker) = @_;
  return sub {
    my ($value, $path) = @_;
    refuse($path, 'a list') if ref $value ne 'ARRAY';
    return [ map { $checker->($value->[$_], "$path\[$_]") } 0 .. $#$value ];
  };
}

sub mapping {
  my ($key_checker, $value_checker) = @_;
  return sub {
    my ($value, $path) = @_;
    refuse($path, 'an object') if ref $value ne 'HASH';
    return { map { $key_checker->($_, "a key of $path") => $value_checker->($value->{$_}, "$path.*") } keys %$value };
  };
}

sub object {
  my ($checkers) = @_;
  return sub {
    my ($value, $path) = @_;
    refuse($path, 'an object') if ref $value ne 'HASH';
    for my $key (sort keys %$value) {
      exists $checkers->{$key} or die "$path: an unknown key\n";
    }
    for my $key (sort keys %$checkers) {
      exists $value->{$key} or die "$path: the key $key is missing\n";
    }
    return { map { $_ => $checkers->{$_}->($value->{$_}, "$path.$_") } keys %$checkers };
  };
}

1;
