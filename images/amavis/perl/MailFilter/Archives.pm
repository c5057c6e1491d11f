package MailFilter::Archives;
use strict;
use warnings;
use Exporter 'import';
use MailFilter::Files qw(read_octets);

our @EXPORT_OK = qw(short_types kind is_archive is_empty);

# What is an archive, by what file(1) calls it and by its name.

# What amavis does not know, or by another name of older versions of file(1), and what it calls it then.
sub short_types {
  return (
    [ qr/^XZ compressed data\b/ => 'xz' ],
    [ qr/^LZMA compressed data\b/ => 'lzma' ],
    [ qr/^LRZIP compressed data\b/ => 'lrz' ],
    [ qr/^lzip compressed data\b/ => 'lz' ],
    [ qr/^(?:Java archive data|Android package)\b/ => 'jar' ],
    [ qr/^Comic Book archive\b/ => 'zip' ],
    [ qr/^(?:UDF|High Sierra CD-ROM) filesystem\b/ => 'iso' ],
    [ qr/^Squashfs filesystem\b/ => 'squashfs' ],
    [ qr/^xar archive\b/ => 'xar' ],
    [ qr/^Windows imaging\b/ => 'wim' ],
    [ qr/^Microsoft Disk Image\b/ => 'vhd' ],
    [ qr/^VMware4 disk image\b/ => 'vmdk' ],
    [ qr/^QEMU QCOW\b/ => 'qcow' ],
    [ qr/\bVirtualBox Disk Image\b/ => 'vdi' ],
    [ qr/^zlib compressed data\b/ => 'dmg' ],
    [ qr/^(?:DOS\/MBR boot sector|Linux rev .* ext[234] filesystem)\b/ => 'img' ],
    [ qr/^MS Compress archive data, SZDD\b/ => 'mslz' ],
  );
}

# The beginning of a description is file(1)'s; titles and names inside the file follow.
sub kind {
  my ($type) = @_;
  my ($kind) = $type =~ /^([^,:;("]*)/;
  return $kind;
}

my $ARCHIVE = qr/
  \barchive\b | \bcompress(?:'d|ed)\ data\b | \bfile\ ?system\b | \bdisk\ image\b
  | ^(?: frozen | packed\ data | RPM | Debian\ binary | StuffIt | DOS\/MBR\ boot | Windows\ imaging | Microsoft\ Disk\ Image
       | QEMU\ QCOW | Macintosh\ HFS | Transport\ Neutral\ Encapsulation ) /xi;
my $AS_TEXT = qr/^(?:uuencoded|xxencoded|BinHex|shell archive|WARC Archive)\b/i;

my $NAME = qr/\.
  (?: 7z | ace | alz | apk | ar | arc | arj | bz[23]? | cab | cpio | deb | dmg | egg | gz | img | iso | jar | lha | lr?z | lz4
    | lzh | lzma | lzo | r(?:ar|\d\d) | rpm | sea | sitx? | squashfs | t(?:ar|[bgx]z2?|lz|zst) | uha | uue? | vdi | vhdx? | vmdk | wim
    | xar | xz | z(?:\d\d|ipx?|oo|paq|st)? | (?:7z|rar|zip)\.\d{3} )
  [.\ ]*\z/xi;

# Whether it is one for file(1), or for whoever opens it by its name. file(1) takes a text for some archive because of the
# first letters alone: for one of StuffIt in Portuguese (Segue em anexo).
sub is_archive {
  my ($type, $names, $beginning) = @_;
  my $kind = kind($type);
  return 1 if $kind =~ $AS_TEXT;
  return 0 if $beginning !~ /[\x00-\x08\x0e-\x1a\x1c-\x1f]/;
  return $kind =~ $ARCHIVE || grep({ $_ =~ $NAME } @$names) ? 1 : 0;
}

# A ZIP archive of nothing, a compressed file of nothing (its header has a name), or a winmail.dat that has the formatted text
# of a mail and no file.
sub is_empty {
  my ($type, $path) = @_;
  return -s $path <= 22 if $type =~ /^Zip archive data \(empty\)/;
  return -s $path <= 300 if kind($type) =~ /\bcompress(?:'d|ed) data\b/;
  return 0 if $type !~ /^(?:Transport Neutral Encapsulation Format|TNEF)\b/;
  my $octets = read_octets($path);
  my $at = 6;                                         # signature, key
  while ($at + 9 <= length $octets) {
    my ($level, $length) = unpack "\@${at}Cx4V", $octets;
    return 0 if $level != 1;                          # of the mail; 2: of an attachment
    $at += 9 + $length + 2;                           # header, data, checksum
  }
  return $at == length $octets;
}

1;
