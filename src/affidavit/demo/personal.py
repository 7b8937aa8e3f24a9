"""What the tour plants to see whether it stays covered: personal data and a secret, all made up.

Promise: everything here is nobody's. The address is of a domain that is reserved for examples, the card is the test
number that payment providers document, the account is the one of every IBAN's description, the phone number is of the
range that is kept free for fiction. The key is put together when the program runs, so that no scanner of repositories
takes it for a real one.
"""

from __future__ import annotations

from typing import Final

EMAIL: Final = "customer17@example.org"
CARD: Final = "4111 1111 1111 1111"
"""Passes the check of Luhn."""
IBAN: Final = "DE89 3704 0044 0532 0130 00"
"""Passes the check modulo 97."""
PHONE: Final = "+1 202 555 0143"
BORN: Final = "12 March 1984"
SECRET: Final = "-".join(("sk", "proj", "0000Lamp" * 4))

PLANTED: Final = (EMAIL, CARD, IBAN, PHONE, BORN, SECRET)


def planted_in(text: bytes) -> list[str]:
    """Which of them stand in a text or a file in clear, as they were written or without their spaces."""
    return [
        value
        for value in PLANTED
        if value.encode() in text or (" " in value and value.replace(" ", "").encode() in text)
    ]
