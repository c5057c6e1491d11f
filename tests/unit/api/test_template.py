"""Templates of digests: each mistake is told by its line, and no value is ever looked at for placeholders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfilter.api.template import DEFAULT_TEMPLATE, OF_DIGEST, OF_MAIL, TemplateError, parse

HEAD = "Subject: held\n\n"
LIST = "$each\n$id\n$end\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "line 1: the first line must be Subject:"),
        ("Held\n\n" + LIST, "line 1: the first line must be Subject:"),
        ("Subject: x\nBcc: eve@x.example\n\n" + LIST, "line 1: the first line must be Subject:"),
        ("Subject: $id\n\n" + LIST, "line 1: $id is not known here; there are $contact, "),
        (HEAD + "one\n$nobody\n" + LIST, "line 4: $nobody is not known here"),
        (HEAD + "$id\n" + LIST, "line 3: $id is not known here"),
        (HEAD + "${recipient.__class__}\n" + LIST, "line 3: a $ that begins no name; write $$"),
        (HEAD + "5 $\n" + LIST, "line 3: a $ that begins no name; write $$"),
        (HEAD + "$left\n" + LIST, "line 3: $left is not known here"),
        (HEAD + "$each\n$id\n", "line 3: $each without $end"),
        (HEAD + "x\n$end\n", "line 4: $end without $each or $rest before it"),
        (HEAD + "$each\n$rest\n$end\n", "line 4: $rest within the block that line 3 begins; $end is missing"),
        (HEAD + "nothing\n", "line 3: one block of $each and $end must list the mails"),
        (HEAD + LIST + LIST, "line 8: one block of $each and $end must list the mails"),
        (HEAD + "a\x00b\n" + LIST, "line 3: a control character"),
        (HEAD + "a\u202eb\n" + LIST, "line 3: a control character"),
        (HEAD + "x" * 20000, "line 1: the template has more than 16384 characters"),
    ],
)
def test_a_mistake_is_told_by_its_line(text: str, reason: str) -> None:
    with pytest.raises(TemplateError) as found:
        parse(text)
    assert str(found.value).startswith(reason)


def test_blocks_stand_for_each_mail_and_for_a_rest() -> None:
    template = parse(HEAD + "to $recipient, $$5\n$each\n${id}x $$\n$end\n$rest\n$left more for $recipient\n$end\nbye\n")
    values = dict.fromkeys(OF_DIGEST, "bob")
    mails = [dict.fromkeys(OF_MAIL, one) for one in ("a", "b")]
    assert template.render(values, mails, None) == ("held", "to bob, $5\nax $\nbx $\nbye\n")
    assert template.render(values, [], {"left": "7"}) == ("held", "to bob, $5\n7 more for bob\nbye\n")


def test_line_ends_of_windows_are_line_ends() -> None:
    text = (HEAD + LIST).replace("\n", "\r\n")
    assert parse(text) == parse(HEAD + LIST)


@given(st.text())
def test_a_value_is_only_a_value(value: str) -> None:
    values, mail = dict.fromkeys(OF_DIGEST, value), dict.fromkeys(OF_MAIL, value)
    template = parse("Subject: $count\n\n$each\n<$subject>\n$end\n")
    assert template.render(values, [mail], None) == (value, f"<{value}>\n")


@given(st.text(alphabet=st.sampled_from("$ech restnd{}id\nSubjct: "), max_size=60))
def test_any_text_is_a_template_or_refused_with_a_line(text: str) -> None:
    try:
        template = parse(text)
    except TemplateError as error:
        template, reason = None, str(error)
    if template is None:
        assert reason.startswith("line ")
    else:
        template.render(dict.fromkeys(OF_DIGEST, ""), [dict.fromkeys(OF_MAIL, "")], {"left": "1"})


def test_the_default_one_has_no_mistake() -> None:
    assert parse(DEFAULT_TEMPLATE)
