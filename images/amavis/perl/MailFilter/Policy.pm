package MailFilter::Policy;
use strict;
use warnings;
use Amavis::Util ();          # before the next: they need each other
use Amavis::Lookup::RE ();
use Cpanel::JSON::XS ();
use Digest::SHA qw(sha256_hex);
use MailFilter::Schema qw(text number integer boolean one_of optional list mapping object);
use MailFilter::Senders qw(senders_check sender_lists);

# policy.json as amavis' lookup tables. Pure: no file is touched here.

my $lookup_key = text(qr/[\x20-\x7e]{0,320}/);
my $address = text(qr/[\x21-\x7e]{1,320}/);
my $line = text(qr/[^\x00-\x1f\x7f]{0,512}/);
my $labels = text(qr/(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]*[a-z0-9])?/);    # part of a path
my $type = text(qr/[A-Za-z0-9._-]{1,32}/);

my $digest = object({
  enabled => boolean(),
  at => text(qr/\d\d:\d\d/),
  timeZone => text(qr/[A-Za-z0-9_+\/-]{1,64}/),
  kinds => list(one_of(qw(spam banned bad-header))),
  contact => optional($line),
  fromAddress => optional($address),
  fromName => $line,
});

# What can differ by recipient.
sub by_recipient {
  my ($checker) = @_;
  return object({ default => $checker, by => mapping($lookup_key, $checker) });
}

my $check = object({
  version => one_of(2),
  localDomains => list($lookup_key),
  levels => object({ map { $_ => by_recipient(number()) } qw(tag tag2 kill cutoff) }),
  spamEnabled => by_recipient(boolean()),
  spamBodySizeLimit => optional(integer()),
  subjectTag => by_recipient($line),
  spamRules => optional(text(qr/[^\x00-\x08\x0b-\x1f\x7f]{0,1000000}/)),
  # Senders of viruses and spam are forged: no policy can send them anything.
  destiny => object({
    (map { $_ => by_recipient(one_of(qw(Pass Discard Reject))) } qw(virus spam)),
    (map { $_ => by_recipient(one_of(qw(Pass Discard Reject Bounce))) } qw(banned badHeader)),
  }),
  aboveCutoff => one_of(qw(Discard Reject)),
  virusEnabled => boolean(),
  encryptedArchives => one_of(qw(Pass Tag Quarantine)),
  decoding => object({
    enabled => boolean(),
    maxLevels => integer(),
    maxFiles => integer(),
    maxExpandedBytes => integer(),
  }),
  quarantine => object({ map { $_ => boolean() } qw(virus spam banned badHeader) }),
  logLevel => integer(),
  banned => by_recipient(object({
    enabled => boolean(),
    names => list($line),
    types => list($type),
    mimeTypes => list(text(qr{[A-Za-z0-9!#\$&^_.+-]{1,127}/[A-Za-z0-9!#\$&^_.+-]{1,127}})),
    doubleExtensions => boolean(),
    allowInside => list($type),
  })),
  senders => senders_check(),
  signing => mapping($lookup_key, list(object({ domain => $labels, selector => $labels }))),
  # The agent's, of which amavis only knows the form.
  digest => optional(object({
    hostname => text(qr/[a-z0-9.-]{1,253}/),
    suspended => boolean(),
    template => text(qr/[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]{0,16384}/),
    settings => by_recipient($digest),
  })),
  notifications => object({
    virusAdmin => optional($address),
    spamAdmin => optional($address),
    bannedAdmin => optional($address),
    badHeaderAdmin => optional($address),
    mailFrom => optional($address),
    headerFrom => optional($line),
  }),
});

# The document in the octets of a policy.json, each value checked and untainted.
sub checked {
  my ($octets) = @_;
  my $decoded = eval { Cpanel::JSON::XS->new->utf8->decode($octets) };
  defined $decoded or die "not a JSON document\n";
  return $check->($decoded, 'policy');
}

# The tables for the octets of a policy.json; dies with a reason that names no value of it but a spam rule's.
sub parse {
  my ($octets) = @_;
  my $policy = checked($octets);
  return {
    levels => { map { $_ => lookup_tables($policy->{levels}{$_}) } keys %{ $policy->{levels} } },
    localDomains => lookup_set($policy->{localDomains}),
    senders => sender_lists($policy->{senders}),
    bypassSpam => lookup_tables($policy->{spamEnabled}, sub { $_[0] ? 0 : 1 }),
    subjectTag => lookup_tables($policy->{subjectTag}, \&octets_of),
    destiny => { map { $_ => lookup_tables($policy->{destiny}{$_}) } keys %{ $policy->{destiny} } },
    aboveCutoff => $policy->{aboveCutoff},
    banned => lookup_tables($policy->{banned}, \&banned_tables),
    bypassVirus => $policy->{virusEnabled} ? 0 : 1,
    encryptedArchives => $policy->{encryptedArchives},
    quarantine => $policy->{quarantine},
    settings => settings($policy),
    signing => $policy->{signing},
    notifications => { map { $_ => octets_of($policy->{notifications}{$_}) } keys %{ $policy->{notifications} } },
    spam_rules($policy->{spamRules}),
  };
}

# Variables of amavis that take one value for all recipients, by name.
sub settings {
  my ($policy) = @_;
  my $decoding = $policy->{decoding};
  return {
    log_level => $policy->{logLevel},
    sa_mail_body_size_limit => $policy->{spamBodySizeLimit},
    bypass_decode_parts => $decoding->{enabled} ? 0 : 1,
    MAXLEVELS => $decoding->{maxLevels},
    MAXFILES => $decoding->{maxFiles},
    MAX_EXPANSION_QUOTA => $decoding->{maxExpandedBytes},
  };
}

sub octets_of {
  my ($text) = @_;
  utf8::encode($text) if defined $text;
  return $text;
}

# A setting that can differ by recipient, each of its values turned into what amavis takes. Behind a reference: in a plain
# text that it finds in a table amavis would replace $1 by the address.
sub lookup_tables {
  my ($setting, $turn) = @_;
  $turn ||= sub { $_[0] };
  my $by = $setting->{by};
  return { default => $turn->($setting->{default}), by => { map { lc($_) => \$turn->($by->{$_}) } keys %$by } };
}

sub lookup_set {
  my ($keys) = @_;
  return { map { lc($_) => 1 } @$keys };
}

# For amavis' banned_filename_maps: a table from recipient to a list of tables.
sub banned_tables {
  my ($banned) = @_;
  return { '.' => [ $banned->{enabled} ? banned_rules($banned) : () ] };
}

# A program's ending behind another one, in which there is a letter: 1.2.exe has none.
my $DOUBLE_EXTENSION = qr/ \. [^.\/]* [a-z] [^.\/]* \. \s* (?:exe|vbs|pif|scr|bat|cmd|com|cpl|dll) [.\s]* \z/ix;

# The first rule that matches decides. It is asked for each part of a mail with the names, MIME types and file types (these
# behind a dot) of the part and of all containers around it.
sub banned_rules {
  my ($banned) = @_;
  my @types = map { qr/\A\.\Q$_\E\z/ } @{ $banned->{types} };
  my @allowed = map { [ qr/\A\.\Q$_\E\z/ => 0 ] } @{ $banned->{allowInside} };
  my @names = map { name_pattern($_) } @{ $banned->{names} };
  my @mime_types = map { qr/\A\Q$_\E\z/i } @{ $banned->{mimeTypes} };
  my @double = $banned->{doubleExtensions} ? $DOUBLE_EXTENSION : ();
  return Amavis::Lookup::RE->new(@types, @allowed, @double, @names, @mime_types);
}

# A leading "*" stands for one character at least, so that "*.exe" does not mean the file type ".exe". The system of a
# recipient drops dots and blanks at the end of a name.
sub name_pattern {
  my ($glob) = @_;
  my $pattern = quotemeta octets_of($glob);
  $pattern =~ s/\\\*/.*/g;
  $pattern =~ s/\\\?/./g;
  $pattern =~ s/\A\.\*/.+/;
  return qr/\A$pattern [.\x20]* \z/isx;
}

# SpamAssassin sees changed rules only under another file name.
sub spam_rules {
  my ($rules) = @_;
  return (spamRules => undef, spamRulesFile => undef) if !defined $rules || $rules !~ /\S/;
  my $octets = octets_of($rules);
  return (spamRules => $octets, spamRulesFile => '/run/amavis/rules/' . substr(sha256_hex($octets), 0, 12) . '.cf');
}

1;
