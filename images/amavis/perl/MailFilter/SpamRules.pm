package MailFilter::SpamRules;
use strict;
use warnings;
use Exporter 'import';
use Mail::SpamAssassin::Util ();

our @EXPORT_OK = qw(check_patterns);

# SpamAssassin leaves out a rule whose pattern it cannot compile and says so in its log only. Dies naming the first such line.
sub check_patterns {
  my ($rules) = @_;
  my $number = 0;
  for my $line (split /\n/, $rules) {
    $number++;
    my $pattern = pattern($line);
    next if !defined $pattern;
    my ($compiled, $error) = Mail::SpamAssassin::Util::compile_regexp($pattern, 1);
    next if $compiled;
    $error =~ s/ at \S+ line \d+\.?\s*\z//;
    die "spec.spam.rules line $number: $error\n";
  }
  return;
}

# The pattern of a rule, delimiters included, with comments gone as SpamAssassin removes them.
sub pattern {
  my ($line) = @_;
  $line =~ s/(?<!\\)#.*//;
  $line =~ s/\\#/#/g;
  $line =~ s/\s*\[if-unset:\s.*\]\s*\z//;
  $line =~ s/\s+\z//;
  return $1 if $line =~ /\A\s*(?:body|rawbody|full|uri)\s+\S+\s+(.+)/;
  return $1 if $line =~ /\A\s*header\s+\S+\s+[^=!]+[=!]~\s*(.+)/;
  return;
}

1;
