from http import HTTPStatus

import msgspec
import pytest

from affidavit.capture.gateway.refusal import Reason, format_refusal


def test_codes_are_unique():
    assert len({reason.code for reason in Reason}) == len(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_each_refusal_is_a_whole_answer_with_three_sentences_or_more(reason):
    data = format_refusal(reason=reason, call_id="some-id", connection=b"close", detail="More.")
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == f"HTTP/1.1 {reason.status} {HTTPStatus(reason.status).phrase}".encode()
    assert b"content-length: %d" % len(body) in lines
    assert b"x-affidavit-id: some-id" in lines
    assert b"connection: close" in lines
    assert (b"retry-after: 1" in lines) == (reason.status == 503)
    error = msgspec.json.decode(body)["error"]
    assert (error["type"], error["code"]) == ("affidavit_error", reason.code)
    assert error["message"] == f"{reason.message} More."
    # What was not lost: nothing went out, or it is on record.
    assert "Nothing was sent" in reason.message or "on record" in reason.message or "nothing was sent" in reason.message
    assert reason.message.endswith(".")
