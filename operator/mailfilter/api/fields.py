"""Field types of the custom resources: one definition is checked by pydantic and by the API server alike."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

VALIDATIONS = "x-kubernetes-validations"


class Model(BaseModel):
    """Base of all parts of a custom resource: camelCase names, immutable, unknown fields refused."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, use_attribute_docstrings=True
    )


def rule(expression: str, message: str) -> dict[str, Any]:
    """A CEL validation rule of a CRD schema: the API server refuses an object for which it is false."""
    return {"rule": expression, "message": message}


def _matching(pattern: str, message: str, max_length: int, min_length: int = 1, *, many: bool = False) -> Any:
    """A string type that must match `pattern` as a whole (RE2 syntax, no look-around); `message` says what is right.

    `many`: in lists within lists the API server's cost limit for CEL leaves only the schema's own pattern.
    """
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not min_length <= len(value) <= max_length or not compiled.fullmatch(value):
            raise ValueError(message)
        return value

    quoted = pattern.replace("\\", "\\\\").replace("'", "\\'")
    schema: dict[str, Any] = {"type": "string", "minLength": min_length, "maxLength": max_length}
    if many:
        schema["pattern"] = f"^(?:{pattern})$"
    else:
        schema[VALIDATIONS] = [rule(f"self.matches('^(?:{quoted})$')", message)]
    return Annotated[str, AfterValidator(check), WithJsonSchema(schema)]


_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = rf"(?:{_LABEL}\.)*{_LABEL}"
# The dot-atom of RFC 5321 without quoted strings; SMTPUTF8 local parts are not declared in a resource.
# None begins with #, which would be a comment in a Postfix table.
_LOCAL = r"[A-Za-z0-9!$%&'*+/=?^_`{|}~-][A-Za-z0-9!#$%&'*+/=?^_`{|}~-]*(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
# Without * ? and !, which lists of senders elsewhere give a meaning that they do not have here.
_SENDER = r"[A-Za-z0-9#$%&'+/=^_`{|}~-]+(?:\.[A-Za-z0-9#$%&'+/=^_`{|}~-]+)*"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4_ADDRESS = rf"(?:{_OCTET}\.){{3}}{_OCTET}"
_IPV4 = _IPV4_ADDRESS + r"(?:/(?:3[0-2]|[12]?[0-9]))?"
_HEX = "[0-9A-Fa-f]{1,4}"
# All positions of the double colon.
_IPV6_ADDRESS = (
    "(?:"
    + "|".join(
        [rf"(?:{_HEX}:){{7}}{_HEX}", rf"(?:{_HEX}:){{1,7}}:", rf":(?::{_HEX}){{1,7}}", "::"]
        + [rf"(?:{_HEX}:){{1,{7 - after}}}(?::{_HEX}){{1,{after}}}" for after in range(1, 7)]
    )
    + ")"
)
_IPV6 = _IPV6_ADDRESS + "(?:/(?:12[0-8]|1[01][0-9]|[1-9]?[0-9]))?"
# Letters of other scripts, without most blanks and invisible characters. IDNA decides on the rest, and on lengths:
# what the API server checks in a long list has to be short.
_FOREIGN = "\u00a1-\u1fff\u2070-\ud7ff\uf900-\uffef"
_ULABEL = f"[A-Za-z0-9{_FOREIGN}-]+"
_UTOP = f"[A-Za-z{_FOREIGN}][A-Za-z0-9{_FOREIGN}-]*"
_UDOMAIN = rf"(?:{_ULABEL}\.)*{_UTOP}\.?"
# A letter, digit or such, escaped or not; a class without ranges but the usual three; any character.
_REGEXP_ONE = r"(?:[A-Za-z0-9_@=%&~'-]|\\[.+*?^$|(){}\[\]/-]|\\d|\.|\[(?:a-z|A-Z|0-9|[A-Za-z0-9_.+=])+-?\])"
_REGEXP_ITEM = rf"(?:{_REGEXP_ONE}\??|\({_REGEXP_ONE}+(?:\|{_REGEXP_ONE}+)*\)\??)"

DomainName = _matching(
    rf"(?:{_LABEL}\.)+{_LABEL}".replace("A-Z", ""),
    "must be a domain name in lower case such as example.com (an internationalised one as xn--…), "
    "without @ or a dot in front",
    253,
)
FullHostName = _matching(rf"(?:{_LABEL}\.)+{_LABEL}", "must be a fully qualified host name such as mx.example.com", 253)
HostName = _matching(_DOMAIN, "must be a host name such as mail.example.com, or an IPv4 address", 253)
_ADDRESS_MESSAGE = "must be one mail address such as postmaster@example.com, without <> and display name"
EmailAddress = _matching(rf"{_LOCAL}@{_DOMAIN}", _ADDRESS_MESSAGE, 254)
AliasTarget = _matching(rf"{_LOCAL}@{_DOMAIN}", _ADDRESS_MESSAGE, 254, many=True)
_LOCAL_MESSAGE = "must be the part of a mail address before the @, in lower case"
LocalPart = _matching(_LOCAL.replace("A-Z", ""), _LOCAL_MESSAGE, 64)
KnownLocalPart = _matching(_LOCAL.replace("A-Z", ""), _LOCAL_MESSAGE, 64, many=True)
_SENDER_PATTERN = (
    rf"<>|{_SENDER}@(?:\*|{_UDOMAIN})?|(?:\*?@)?(?:\*?\.{_UDOMAIN}|(?:{_ULABEL}\.)+{_UTOP}\.?)",
    "must be user@example.com (that sender), example.com or @example.com (senders at that domain alone), "
    ".example.com or *.example.com (the domain and its subdomains), user@* (that name at any domain) "
    "or <> (the null sender)",
    254,
)
SenderPattern = _matching(*_SENDER_PATTERN)
# The form in which an address is looked up.
SenderAddress = _matching(
    rf"{_SENDER}@{_DOMAIN}".replace("A-Z", ""),
    "must be a mail address in lower case such as user@example.com",
    254,
    many=True,
)
SenderPatternOverride = _matching(*_SENDER_PATTERN, many=True)
ClientPattern = _matching(
    # A name ends in a label that is no number, or 300.1.1.1 would be one.
    rf"{_IPV4}|{_IPV6}|(?:\*?\.)?(?:{_LABEL}\.)+[A-Za-z](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?",
    "must be an address such as 192.0.2.1 or 2001:db8::1, a network such as 192.0.2.0/24, a host name such as "
    "mail.example.com, or .example.com (that name and all below)",
    253,
)
IpAddress = _matching(
    f"{_IPV4_ADDRESS}|{_IPV6_ADDRESS}", "must be an address such as 192.0.2.53 or 2001:db8::53, without a port", 45
)
# Two repetitions without a bound: an address has 320 characters at most, so matching stays short whatever it is.
_SENDER_REGEXP = (
    rf"\^?{_REGEXP_ITEM}*(?:{_REGEXP_ONE}[*+]{_REGEXP_ITEM}*){{0,2}}\$?",
    "must be a simple regular expression such as ^(offers|bulkmail)\\d*@: letters, digits, _ @ = % & ~ ' -, "
    "\\. and other escaped marks, ., \\d, [a-z0-9], (one|other), ?, at most two of * and +, ^ and $ at the ends",
    256,
)
SenderRegexp = _matching(*_SENDER_REGEXP)
SenderRegexpOverride = _matching(*_SENDER_REGEXP, many=True)
HeaderFrom = _matching(
    rf"(?:[A-Za-z0-9 ._-]{{0,100}}<{_LOCAL}@{_DOMAIN}>)|(?:{_LOCAL}@{_DOMAIN})",
    "must be an address such as Content-filter <postmaster@example.com>, the name of letters, digits, space . _ -",
    320,
)
PrintableAscii = _matching(r"[\x20-\x7e]*", "must be printable ASCII characters", 64, 0)
_FILE_NAME = (
    r"[\x21-\x7e]+",
    "must be a file name pattern of printable ASCII characters such as *.exe (* and ? are wildcards)",
    100,
)
_FILE_TYPE = (r"[a-z0-9]+(?:-[a-z0-9]+)*", "must be one of amavis' short file types such as exe-ms, dll or zip", 30)
_MIME_TYPE = (
    r"[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*",
    "must be a MIME type in lower case such as application/x-msdownload",
    120,
)
FileNamePattern = _matching(*_FILE_NAME)
FileNameOverride = _matching(*_FILE_NAME, many=True)
FileType = _matching(*_FILE_TYPE)
FileTypeOverride = _matching(*_FILE_TYPE, many=True)
MimeType = _matching(*_MIME_TYPE)
MimeTypeOverride = _matching(*_MIME_TYPE, many=True)
# Not wider than /8, or /32 of IPv6.
Network = _matching(
    rf"{_IPV4.rpartition('(?:/')[0]}(?:/(?:3[0-2]|[12][0-9]|[89]))?"
    rf"|{_IPV6.rpartition('(?:/')[0]}(?:/(?:12[0-8]|1[01][0-9]|[4-9][0-9]|3[2-9]))?",
    "must be an address such as 192.0.2.1 or 2001:db8::1, or a network such as 192.0.2.0/24 (not wider than /8) or "
    "2001:db8:1::/48 (not wider than /32)",
    45,
)
Selector = _matching(
    rf"(?:{_LABEL}\.)*{_LABEL}".replace("A-Z", ""),
    "must be a DKIM selector in lower case such as s1 or 2027a: labels of letters, digits and -",
    100,
)
HttpUrl = _matching(
    r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?",
    "must be an http or https URL of letters, digits and . _ ~ / - (no user, query or fragment)",
    500,
)
SignatureUrl = _matching(
    r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?/(?:[A-Za-z0-9._~-]+/)*[A-Za-z0-9_-]+\."
    r"(?:ndb|ndu|hdb|hdu|hsb|hsu|mdb|mdu|msb|msu|ldb|ldu|fp|sfp|ign2|yar|yara|cdb|cbc|ftm|pdb|gdb|wdb)",
    "must be the http or https URL of a ClamAV signature file such as https://signatures.example.com/custom.ndb",
    500,
)
Quantity = _matching(
    r"[0-9]+(?:\.[0-9]+)?(?:m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?", "must be a Kubernetes quantity such as 500m or 10Gi", 20
)
ConfigMapKey = _matching(r"[A-Za-z0-9._-]+", "must be a key of a ConfigMap or Secret: letters, digits and . _ -", 253)
ObjectName = _matching(
    r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*", "must be a Kubernetes name", 253
)
QuarantineId = _matching(
    r"(?:spam|virus|banned|bad-header)/(?:[A-Za-z0-9]/)?[A-Za-z0-9][A-Za-z0-9_-]{5,30}(?:\.gz)?",
    "must be a quarantine id as amavis logs it, such as spam/h/hAbcDEfgh123.gz or virus/x/xAbcDEfgh123",
    64,
)
Timestamp = _matching(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z",
    "must be a time in UTC such as 2026-11-25T00:00:00Z",
    20,
    many=True,
)
# In settings of single domains and recipients, too: nested lists leave CEL no room.
TimeOfDay = _matching(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]", "must be a time of day such as 07:00 or 19:30", 5, many=True)
ZoneName = _matching(
    r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+){0,2}", "must be the name of a time zone such as Europe/Berlin", 64, many=True
)
Line = _matching(r"[^\x00-\x1f\x7f-\x9f]+", "must be one line of text, of 200 characters at most", 200, many=True)
Score = Annotated[float, Field(ge=-10000, le=10000)]
Port = Annotated[int, Field(ge=1, le=65535)]
