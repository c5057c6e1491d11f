package MailFilter::DkimKeys;
use strict;
use warnings;
use Cpanel::JSON::XS ();
use Crypt::OpenSSL::RSA ();
use Crypt::PK::Ed25519 ();
use MIME::Base64 qw(decode_base64 encode_base64);
use Mail::DKIM::PrivateKey ();
use MailFilter::Files qw(read_octets replace_file);
use Time::HiRes ();

# Private keys in files that Kubernetes replaces, read again when they have changed, and what is known of them for the agent.

my $DIRECTORY = '/etc/mailfilter/dkim';
my $REPORT = '/run/amavis/dkim.json';

# The algorithm's identifier in a public key (RFC 8017), DER.
my $RSA_ENCRYPTION = pack 'H*', '2a864886f70d010101';

my %known;    # path => { identity, and key or reason }

# A key of the policy with what signs by it; undef while there is none that can.
sub usable {
  my ($wanted) = @_;
  return look($wanted)->{key};
}

# Looks at all of them and tells the agent.
sub report {
  my ($signing) = @_;
  my %found = map { ("$_->{domain}/$_->{selector}" => state_of($_)) } map { @$_ } values %$signing;
  my $octets = Cpanel::JSON::XS->new->utf8->canonical->encode(\%found);
  my $told = eval { read_octets($REPORT) } // '';
  my $same = $told eq $octets;
  replace_file($REPORT, $octets) if !$same;
  return;
}

sub state_of {
  my ($wanted) = @_;
  my $found = look($wanted);
  return $found->{key} ? { record => $found->{key}{record}, error => undef } : { record => undef, error => $found->{reason} };
}

sub look {
  my ($wanted) = @_;
  my $path = "$DIRECTORY/$wanted->{domain}/$wanted->{selector}.pem";
  my @stat = Time::HiRes::stat($path);
  my $identity = @stat ? join(':', @stat[0, 1, 7, 9, 10]) : 'missing';
  my $found = $known{$path};
  return $found if $found && $found->{identity} eq $identity;
  my $key = @stat ? eval { loaded(read_octets($path)) } : undef;
  my $reason = $key ? undef : @stat ? $@ : 'missing';
  chomp $reason if defined $reason;
  return $known{$path} = { identity => $identity, reason => $reason, key => $key && { %$wanted, %$key } };
}

# Dies with what is wrong, in words that hold nothing of the file.
sub loaded {
  my ($pem) = @_;
  length $pem <= 20_000 or die "too long for a key\n";
  $pem =~ /^-----BEGIN ([A-Z ]+)-----\r?$/m or die "not a key in PEM\n";
  my $label = $1;
  die "it needs a passphrase: store it without\n" if $label =~ /ENCRYPTED/ || $pem =~ /^Proc-Type:.*ENCRYPTED/m;
  die "neither an RSA nor an Ed25519 private key ($label)\n" if $label !~ /\A(?:RSA )?PRIVATE KEY\z/;
  return ed25519($pem) // rsa($pem) // die "neither an RSA nor an Ed25519 private key\n";
}

sub rsa {
  my ($pem) = @_;
  my $rsa = eval { Crypt::OpenSSL::RSA->new_private_key($pem) } or return;
  my $public = $rsa->get_public_key_x509_string;
  $public =~ s/^-----.*$//mg;
  $public =~ s/\s+//g;
  # The library takes other kinds of keys, too.
  return if index(decode_base64($public), $RSA_ENCRYPTION) < 0;
  my $bits = 8 * $rsa->size;
  die "an RSA key of $bits bits: 1024 to 4096 are taken\n" if $bits < 1024 || $bits > 4096;
  $rsa->use_sha256_hash;
  eval { $rsa->verify('probe', $rsa->sign('probe')) } or die "a damaged RSA key: it cannot sign\n";
  return entry('rsa', $rsa, $public);
}

sub ed25519 {
  my ($pem) = @_;
  my $key = eval { Crypt::PK::Ed25519->new(\$pem) } or return;
  $key->is_private or return;
  my $private = Mail::DKIM::PrivateKey->load(Type => 'ed25519', Cork => $key);
  return entry('ed25519', $private, encode_base64($key->export_key_raw('public'), ''));
}

sub entry {
  my ($type, $private, $public) = @_;
  return { type => $type, private => $private, record => "v=DKIM1; k=$type; p=$public" };
}

1;
