package MailFilter::Notices;
use strict;
use warnings;
use Amavis::Util qw(safe_decode_mime safe_decode_utf8 unique_list);    # before the next: they need each other
use Amavis::Conf qw(:platform);
use Exporter 'import';

our @EXPORT_OK = qw(template);

# Notices to administrators: what was blocked, and how it is released. Whatever a sender wrote comes out as one line of
# harmless text behind a name or a bar, so that nothing of it can pass for a header field or for a command.

my $LONGEST = 200;      # characters of anything that a sender wrote
my $MOST = 20;          # entries of a list
my $MOST_LINES = 60;    # lines of SpamAssassin's report

my $ID = qr{(?:spam|virus|banned|bad-header)/(?:[A-Za-z0-9]/)?[A-Za-z0-9][A-Za-z0-9_-]{5,30}(?:\.gz)?};

my ($namespace, $mailfilter);

# For the variables $notify_…_admin_templ, in amavis' language of templates (README.customize). The resource that the
# gateway is of, as namespace/name.
sub template {
  my ($resource) = @_;
  ($namespace, $mailfilter) = split m{/}, $resource;
  return <<'END';
From: %f
Date: %d
Subject: [:notice_subject]
To: [%T|, ]
Message-ID: <[:notice_id]@%h>
Auto-Submitted: auto-generated

[:notice_body]
END
}

# After amavis has made its macros.
sub install {
  my ($macros) = \%Amavis::builtins;
  $macros->{notice_subject} = sub { subject($Amavis::MSGINFO) };
  $macros->{notice_id} = sub { message_id($Amavis::MSGINFO) };
  $macros->{notice_body} = sub { body($Amavis::MSGINFO) };
  return;
}

# A mail that is not stored may have no mail_id.
sub message_id {
  my ($mail) = @_;
  return sprintf 'notice.%.6f.%s', $mail->rx_time, $mail->log_id;
}

sub subject {
  my ($mail) = @_;
  my $category = category($mail);
  my $what =
      $category == CC_VIRUS ? 'VIRUS (' . clean(join ', ', viruses($mail)) . ') in mail'
    : $category == CC_BANNED ? 'BANNED contents (' . clean(macro('F')) . ') in mail'
    : $category == CC_UNCHECKED ? 'UNCHECKED contents in mail'
    : $category == CC_BADH ? 'INVALID HEADER in mail'
    : $category == CC_SPAM ? 'Spam'
    :                        'Mail';
  return "$what FROM " . clean($mail->sender_smtp);
}

sub body {
  my ($mail) = @_;
  my @ids = grep { /\A$ID\z/ } @{ macro('q') || [] };
  my @blocked = grep { $_->recip_destiny != D_PASS } @{ $mail->per_recip_data };
  my @parts = (
      !@blocked ? "The mail goes on to its recipients. "
      . (@ids ? "A copy is held:\n@ids\n" : "No copy is held.\n")
    : @ids ? held($mail, @ids)
    :        not_held()
  );
  return join "\n", @parts, facts($mail), report();
}

sub not_held {
  return <<'END';
The mail is NOT held and cannot be released. Its score is at or above
spam.cutoffLevel, or quarantine.kinds says that mail of its kind is not stored.
END
}

sub held {
  my ($mail, @ids) = @_;
  my $infected = viruses($mail) ? "  # allowVirus: true\n" : '';
  my $list = join '', map { "  - $_\n" } @ids;
  my $release = <<"END";
The mail is held. Its id:
@ids

This releases it to those who did not get it:

kubectl mailfilter release --namespace $namespace --mailfilter $mailfilter @ids

or, without the plugin:

kubectl create -f - <<'EOF'
apiVersion: mailfilter.dev/v1alpha1
kind: QuarantineRelease
metadata:
  generateName: release-
  namespace: $namespace
spec:
  mailFilter: $mailfilter
  messages:
${list}${infected}EOF
END
  return ($release, $infected ? <<'END' : ());
It is INFECTED, and neither of the two releases it unless it says --allow-virus,
or allowVirus: true without the #. Don't: past the gateway nothing stops the
virus any more. Ask the sender for a clean copy. If you are sure that the
scanner is wrong, have an expert look at the mail before anybody opens it.
END
}

sub facts {
  my ($mail) = @_;
  my @scores = grep { defined } map { $_->spam_level } @{ $mail->per_recip_data };
  my ($score) = sort { $b <=> $a } @scores;
  my @facts = (
    [ Virus => [ viruses($mail) ] ],
    [ Banned => macro('banned_parts') ],
    [ 'Bad header' => macro('X') ],
    [ Score => defined $score ? [ 0 + sprintf '%.3f', $score ] : [] ],
    [ Sender => [ $mail->sender_smtp ] ],
    [ Blocked => [ recipients($mail, sub { $_[0]->recip_destiny != D_PASS }) ] ],
    [ 'Goes on to' => [ recipients($mail, sub { $_[0]->recip_destiny == D_PASS }) ] ],
    [ From => [ $mail->get_header_field_body('from') ] ],
    [ Subject => [ $mail->get_header_field_body('subject') ] ],
    [ 'Message-ID' => [ $mail->get_header_field_body('message-id') ] ],
    [ Client => [ $mail->client_addr ? '[' . $mail->client_addr . '] ' . ($mail->client_name // '') : () ] ],
    [ Size => [ $mail->msg_size . ' bytes' ] ],
    [ Log => [ $mail->log_id ] ],
  );
  my $lines = "Of the mail. All but its client may be forged:\n\n";
  for my $fact (@facts) {
    my ($name, $values) = @$fact;
    $lines .= sprintf "%-12s%s\n", "$name:", clean($_) for grep { defined && $_ ne '' } first_of(@{ $values || [] });
  }
  return $lines;
}

sub report {
  my @lines = @{ macro('A') || [] };
  shift @lines while @lines && $lines[0] !~ /\AContent (?:preview|analysis)/;
  pop @lines while @lines && $lines[-1] !~ /\S/;
  return () if !@lines;
  splice @lines, $MOST_LINES;
  return "SpamAssassin's report:\n\n" . join '', map { '| ' . harmless($_) . "\n" } @lines;
}

sub recipients {
  my ($mail, $wanted) = @_;
  return map { $_->recip_addr_smtp } grep { $wanted->($_) } @{ $mail->per_recip_data };
}

sub first_of {
  my @all = @_;
  return @all if @all <= $MOST;
  return (@all[0 .. $MOST - 1], sprintf('and %d more', @all - $MOST));
}

sub viruses { return unique_list(@{ $_[0]->virusnames || [] }) }

# The category that decided what became of the mail.
sub category {
  my ($mail) = @_;
  my $all = $mail->contents_category;
  my $blocking = $mail->blocking_ccat // ($all && @$all ? $all->[0] : CC_CLEAN);
  my ($major) = split /,/, $blocking;
  return $major;
}

sub macro {
  my ($name) = @_;
  return $Amavis::builtins{$name}->($name);
}

# One line of text: encoded words decoded, blanks and line ends made one blank.
sub clean {
  my ($octets) = @_;
  return '' if !defined $octets;
  my $text = safe_decode_mime($octets);
  $text =~ s/\s+/ /g;
  $text =~ s/\A | \z//g;
  return harmless($text);
}

# Of control characters, line ends and marks that turn the direction of writing nothing is left.
sub harmless {
  my ($text) = @_;
  $text = safe_decode_utf8($text);
  $text =~ s/[\p{C}\p{Zl}\p{Zp}]/\x{FFFD}/g;
  substr($text, $LONGEST) = '...' if length $text > $LONGEST;
  return $text;
}

1;
