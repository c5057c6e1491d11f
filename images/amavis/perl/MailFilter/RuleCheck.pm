package MailFilter::RuleCheck;
use strict;
use warnings;
use Mail::SpamAssassin ();
use Mail::SpamAssassin::PerMsgStatus ();
use MailFilter::OwnRules qw(is_apart with_priority);
use MailFilter::Pumps qw(texts);
use Time::HiRes qw(ITIMER_PROF);

# A program of its own: rules on stdin; on stdout "trying line <n>" before each pattern is tried out, and in the end "good" or
# "bad line <n>: <reason>". A pattern that takes too long ends the process.

my $SECONDS = 1;            # of CPU for trying out one pattern
my $SECONDS_IN_ALL = 120;

my $answers;

sub answer {
  my ($line) = @_;
  syswrite($answers, "$line\n") or die "answer: $!\n";
  return;
}

sub main {
  open($answers, '>&', \*STDOUT) or die "stdout: $!\n";
  open(STDOUT, '>&', \*STDERR) or die "stderr: $!\n";      # SpamAssassin prints parts of rules
  Time::HiRes::setitimer(ITIMER_PROF, $SECONDS_IN_ALL);
  local $/ = undef;
  my ($rules) = (<STDIN> // '') =~ /\A(.*)\z/s;
  my @bad = check($rules);
  if (@bad) {
    my ($first) = sort { $a->[0] <=> $b->[0] } @bad;
    $first->[1] =~ s/\A(?:config|rules): //;
    $first->[1] =~ s/\s+/ /g;
    answer("bad line $first->[0]: $first->[1]");
  } else {
    answer('good');
  }
  return;
}

# Bad lines as pairs of number and reason.
sub check {
  my ($text) = @_;
  my @rules = parsed($text);
  my @complaints;
  my ($spamassassin, $theirs) = loaded($text, \@complaints);
  my $conf = $spamassassin->{conf};
  my @bad = map { my $line = line_of($_, \@rules); $line ? [ $line, $_->{msg} ] : () } @complaints;
  for my $rule (@rules) {
    push @bad, [ $rule->{line}, "SpamAssassin has a rule $rule->{name} itself: choose another name" ]
      if $rule->{tests} && ($theirs->{ $rule->{name} } || !is_apart($conf, $rule->{name}));
  }
  push @bad, grep { defined } map { ineffective($_, $conf) } @rules;
  return @bad if @bad;
  try_out($_, $conf->{test_qrs}{ $_->{name} }) for grep { $conf->{test_qrs}{ $_->{name} } && $_->{tests} } @rules;
  return;
}

sub parsed {
  my ($text) = @_;
  my $number = 0;
  return map {
    $number++;
    my ($directive, $name, $value) = /\A\s*([a-z]+)\s+(\w+)\s+(.*?)\s*\z/ ? ($1, $2, $3) : ();
    my $tests = ($directive // '') =~ /\A(?:header|body|rawbody|uri|full|meta)\z/;
    defined $directive
      ? { line => $number, directive => $directive, name => $name, value => $value, tests => $tests } : ();
  } split /\n/, $text;
}

# SpamAssassin with its own rules and these, read as amavis has them read, and run once; and the names of its own. Its
# complaints go to the list.
sub loaded {
  my ($text, $complaints) = @_;
  my $spamassassin = Mail::SpamAssassin->new({
    dont_copy_prefs => 1, userprefs_filename => '/nonexistent', home_dir_for_helpers => '/tmp', local_tests_only => 1,
  });
  $spamassassin->init(0);
  local $spamassassin->{lint_callback} = sub { my %complaint = @_; push @$complaints, \%complaint if $complaint{iserror} };
  my $conf = $spamassassin->{conf};
  $conf->{main} = $spamassassin;
  $conf->{lint_rules} = 1;
  my %theirs = map { $_ => 1 } keys %{ $conf->{test_types} };
  eval {
    $conf->parse_scores_only("file start rules\n" . with_priority($text) . "file end rules\n");
    $conf->finish_parsing(1);
    1;
  } or push @$complaints, { msg => $@ };
  local $SIG{__WARN__} = sub { push @$complaints, { msg => $_[0] } if $_[0] =~ /\A(?:rules|config): / };
  my $mail = $spamassassin->parse("From: a\@example.com\nSubject: test\n\ntest\n", 1, { master_deadline => undef });
  my $status = Mail::SpamAssassin::PerMsgStatus->new($spamassassin, $mail, { disable_auto_learning => 1 });
  $status->check();
  return ($spamassassin, \%theirs);
}

# The line that a complaint is about: it names the line, or a rule, or the rule is in its text. None: it is not about these rules.
sub line_of {
  my ($complaint, $rules) = @_;
  return $1 if $complaint->{msg} =~ /\(line (\d+)\)/;
  my @tests = grep { $_->{tests} } @$rules;
  my ($found) = grep { $_->{name} eq ($complaint->{rule} // '') } @tests;
  ($found) = grep { $complaint->{msg} =~ /\b$_->{name}\b/ } @tests if !$found;
  return $found ? $found->{line} : undef;
}

# What SpamAssassin would not complain of.
sub ineffective {
  my ($rule, $conf) = @_;
  my $known = $conf->{test_types};
  return [ $rule->{line}, "there is no rule $rule->{name}" ] if !exists $known->{ $rule->{name} };
  return if $rule->{directive} ne 'meta';
  my $expression = $rule->{value};
  $expression =~ s/\#.*//;
  while ($expression =~ s/\brules_matching\(\s*([\w*?]*)\s*\)/0/) {
    my $glob = $1;
    my $names = $glob =~ s/\*/.*/gr =~ s/\?/./gr;
    return [ $rule->{line}, "no rule matches $glob" ] if !grep { /\A$names\z/ } keys %$known;
  }
  for my $name ($expression =~ /\b([A-Za-z_]\w*)/g) {
    return [ $rule->{line}, "there is no rule $name" ] if !exists $known->{$name} && $name ne 'local_tests_only';
  }
  return;
}

sub try_out {
  my ($rule, $pattern) = @_;
  answer("trying line $rule->{line}");
  my $left = Time::HiRes::setitimer(ITIMER_PROF, $SECONDS);
  for my $text (texts("$pattern")) {
    my $found = $text =~ $pattern;
  }
  Time::HiRes::setitimer(ITIMER_PROF, $left);
  return;
}

1;
