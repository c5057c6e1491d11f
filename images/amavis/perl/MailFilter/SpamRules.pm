package MailFilter::SpamRules;
use strict;
use warnings;
use Fcntl qw(:flock O_CREAT O_RDWR);
use MailFilter::Files qw(read_octets replace_file);
use MailFilter::OwnRules qw(with_priority);
use POSIX ();


# Rules that SpamAssassin would leave out, or that Perl could match for ever, are refused before they go live. The check reads
# SpamAssassin's rules anew and tries patterns out: it has a process, and bounds, of its own.

my @CHECK = qw(/usr/bin/perl -T -I/usr/share/mailfilter/perl -MMailFilter::RuleCheck -e MailFilter::RuleCheck::main);

my $LOCK = '/run/amavis/rules/lock';

# Makes the file that SpamAssassin reads, whose name stands for these very rules. Dies naming the first bad line; dies with
# "busy" when another process is at it and there is no need to wait.
sub accept_rules {
  my ($rules, $file, $wait) = @_;
  return if -e $file;
  sysopen(my $lock, $LOCK, O_RDWR | O_CREAT, 0640) or die "$LOCK: $!\n";
  flock($lock, $wait ? LOCK_EX : LOCK_EX | LOCK_NB) or die "busy\n";
  return if -e $file;
  die read_octets("$file.bad") if -e "$file.bad";
  if (!eval { check_rules($rules); 1 }) {
    my $reason = $@;
    replace_file("$file.bad", $reason) if $reason =~ / line \d+: /;
    die $reason;
  }
  replace_file($file, with_priority($rules));
  return;
}

# Dies naming the first bad line.
sub check_rules {
  my ($rules) = @_;
  my ($said, $status) = run($rules);
  my @steps = split /\n/, $said;
  my $last = @steps ? $steps[-1] : '';
  return if $status == 0 && $last eq 'good';
  die "spec.spam.rules $1\n" if $status == 0 && $last =~ /\Abad (line \d+: .+)\z/;
  die "spec.spam.rules line $1: this pattern takes too long on some texts: repetitions in repetitions or in a row, such as "
    . "(a{1,9}b?){2,30} or .*.*.*, or a repetition before a backreference\n" if $last =~ /\Atrying line (\d+)\z/;
  die "spec.spam.rules could not be checked: the check ended with status $status\n";
}

# What the check says, and how it ended.
sub run {
  my ($rules) = @_;
  pipe(my $rules_reader, my $rules_writer) or die "pipe: $!\n";
  pipe(my $said_reader, my $said_writer) or die "pipe: $!\n";
  my $pid = fork() // die "fork: $!\n";
  if (!$pid) {
    POSIX::dup2(fileno $rules_reader, 0);
    POSIX::dup2(fileno $said_writer, 1);
    POSIX::close($_) for 3 .. 255;
    %ENV = (PATH => '/usr/bin:/bin', HOME => '/tmp');
    $SIG{$_} = 'DEFAULT' for qw(ALRM TERM INT HUP PIPE CHLD PROF);
    exec { $CHECK[0] } @CHECK or POSIX::_exit(127);
  }
  close $rules_reader;
  close $said_writer;
  local $SIG{PIPE} = 'IGNORE';
  syswrite($rules_writer, $rules);
  close $rules_writer;
  local $/ = undef;
  my $said = <$said_reader>;
  waitpid($pid, 0);
  return ($said // '', $?);
}

1;
