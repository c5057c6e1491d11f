package MailFilter::Unopened;
use strict;
use warnings;
use Exporter 'import';
use MailFilter::Archives qw(is_archive is_empty kind);

our @EXPORT_OK = qw(watched);

# Nobody has looked into an archive that is not unpacked, for whatever reason. By itself amavis logs that a program has failed,
# or not even that no program is there, and passes the archive on as if it were a picture. Here it becomes undecipherable
# (attribute U), as an encrypted one is.

my $MOST = 10;          # in the report of a mail
my $LONGEST = 200;
my $BEGINNING = 4096;   # octets that tell a text

my $APART = '/usr/bin/setsid';      # what a program started can be ended with it

my @unopened;
my $expired;            # whether the time for unpacking the mail in work is over
our $judged;            # whether a decoder that is watched has had the part in work

sub install {
  no warnings 'redefine';
  my $decompose = \&Amavis::Unpackers::decompose_part;
  *Amavis::Unpackers::decompose_part = sub ($$) {
    my ($part, $directory) = @_;
    local $judged = 0;
    my @result = &$decompose($part, $directory);
    mark($part, 'nothing here unpacks it') if !$judged && looks_like_archive($part);
    return @result;
  };
  return;
}

sub start_mail { ($expired, @unopened) = (0); return }

sub findings { return @unopened ? (unopened => [@unopened]) : () }

# An entry of amavis' @decoders, after which what is not wholly unpacked is marked.
sub watched {
  my ($types, $decode, @programs) = @_;
  return [ $types, sub { return attempt($decode, @_) }, @programs ];
}

sub attempt {
  my ($decode, $part, $directory, @programs) = @_;
  $judged = 1;
  my $before = @{ $part->children };
  my ($result, $failure) = outcome($decode, $part, $directory, @programs);
  # amavis leaves what was unpacked until then to be mixed up with the next archive of the mail.
  $failure = $@ if $failure && !eval { take_parts($part, $directory); 1 };
  if (!$failure && $result != 1) {
    $failure = 'it is unpacked in part';
  } elsif (!$failure && !came_out($part, $before) && !is_empty($part->type_long, $part->full_name)) {
    $failure = 'nothing was found in it';
  }
  mark($part, $failure) if $failure;
  # Not at the beginning of the line: after "timed out" amavis would give up the mail, and have it tried again in vain.
  die "decoding: $failure\n" if !defined $result;
  return $result;
}

# Whether there is content among the parts that are new, or a name at least.
sub came_out {
  my ($part, $before) = @_;
  my @children = @{ $part->children };
  return grep { -s $_->full_name || ($_->attributes // '') ne '' } @children[ $before .. $#children ];
}

# The decoder's result, undef when it died, and what went wrong. With most programs amavis does not mind how they end, and for
# some that hang it waits for ever.
sub outcome {
  my ($decode, @arguments) = @_;
  return (undef, 'the time for unpacking is over') if $expired;
  my ($failure, $group) = ('', undef);
  my $ended = sub {
    my ($status, @well) = @_;
    return if Amavis::ProcControl::proc_status_ok($status, 0, @well);
    $failure ||= 'the program ended with ' . Amavis::ProcControl::exit_status_str($status);
  };
  my ($run, $copy, $collect) = (
    \&Amavis::Unpackers::run_command, \&Amavis::Unpackers::run_command_copy, \&Amavis::Unpackers::collect_results);
  no warnings qw(prototype redefine);
  local *Amavis::Unpackers::run_command = sub {
    my ($input, $errors, @command) = @_;
    my @started = &$run($input, $errors, $APART, @command);
    $group = $started[1];
    return @started;
  };
  local *Amavis::Unpackers::run_command_copy = sub { my @copied = &$copy(@_); $ended->($copied[0]); return @copied };
  local *Amavis::Unpackers::collect_results = sub {
    my @collected = &$collect(@_);
    $ended->($collected[1], @{ $_[4] });
    return @collected;
  };
  local $SIG{ALRM} = sub {
    $expired = 1;
    kill 'KILL', -$group if $group;
    die "timed out\n";
  };
  my $result;
  return ($result, $failure) if eval { $result = $decode->(@arguments); 1 };
  $failure = $@;
  Amavis::Util::prolong_timer('decoder failed');
  return (undef, $failure);
}

# What a decoder left in directories of its own becomes parts of the mail.
sub take_parts {
  my ($part, $directory) = @_;
  chdir($directory) or die "$directory: $!\n";
  opendir(my $entries, "$directory/parts") or die "$directory/parts: $!\n";
  my @directories = grep { !-l $_ && -d _ } map { /\A([\w.]*\w)\z/ ? "$directory/parts/$1" : () } readdir $entries;
  closedir $entries;
  for my $left (@directories) {
    my ($bytes) = Amavis::Unpackers::flatten_and_tidy_dir($left, "$directory/parts", $part);
    Amavis::Unpackers::consumed_bytes($bytes, 'take_parts');
  }
  return;
}

sub looks_like_archive {
  my ($part) = @_;
  return 1 if !defined $part->type_long;
  open(my $handle, '<:raw', $part->full_name) or return 1;
  defined read($handle, my $beginning, $BEGINNING) or return 1;
  return is_archive($part->type_long, [ names($part) ], $beginning);
}

sub names {
  my ($part) = @_;
  my $declared = $part->name_declared // return;
  return grep { defined && $_ ne '' } ref $declared ? @$declared : $declared;
}

sub mark {
  my ($part, $reason) = @_;
  $part->attributes_add('U');
  return if @unopened >= $MOST;
  $reason =~ s/ at \/\S+ line \d+\.?$//mg;
  my ($name) = (names($part), $part->base_name);
  my ($of, $type, $why) = map { words($_) } $name, kind($part->type_long // 'unknown'), $reason;
  push @unopened, { name => $of, type => $type, reason => $why };
  return;
}

# amavis' log doubles backslashes, after which a quote ends a string of JSON.
sub words {
  my ($octets) = @_;
  my $text = substr Amavis::Util::safe_decode_utf8($octets), 0, $LONGEST;
  $text =~ s/\s+/ /g;
  $text =~ s/["\\\x00-\x1f\x7f]/?/g;
  return $text =~ s/\A | \z//gr;
}

1;
