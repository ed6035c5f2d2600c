"""Guesses, by name and type, which columns hold personal data: a person must confirm each.

No value is looked at. A guess too many costs a word in the contract; one too few cannot be taken
back once it has landed.
"""

from __future__ import annotations

import re

from pipelines.contract import PiiRule

_LOCKS = "password passwd pwd pin secret token salt api_key private_key cvv cvc"
_NAME = (
    "first_name last_name middle_name full_name given_name family_name maiden_name display_name "
    "forename surname firstname lastname fullname nickname initials"
)
_PLACE = "address addr street address_line house_number latitude longitude"
_TEXT = "note notes comment comments remark remarks anamnesis diagnosis signature photo biography"
_JOINS = (
    "email e_mail mail phone telephone tel mobile cell cellphone fax "
    "ssn social_security national_id personal_id passport tax_id tin vat_number "
    "driving_licence driver_license license_plate insurance_number insurance_no "
    "iban bic bank_account account_number card_number credit_card pan "
    "username user_name login ip ip_address mac_address device_id "
    "birth_date birthdate birthday date_of_birth dob born born_on"
)
_ABOUT = "zip zip_code zipcode postcode postal_code gender sex religion ethnicity nationality"
_RULES: tuple[tuple[PiiRule, str], ...] = (
    # Nobody counts or joins by these.
    ("drop", f"{_LOCKS} {_NAME} {_PLACE} {_TEXT}"),
    # Equal values stay equal.
    ("hash", _JOINS),
    # The first letter tells enough.
    ("mask", _ABOUT),
)
_PERSONS = (
    "person people patient client customer user account member contact employee staff worker "
    "student pupil teacher doctor nurse physician guest visitor subscriber donor borrower reader "
    "author applicant candidate driver owner tenant resident citizen"
)
_PERSON = re.compile(rf"(^|_)({'|'.join(_PERSONS.split())})(s|es)?($|_)")
_NETWORK = ("inet", "macaddr", "macaddr8")


def words(name: str) -> str:
    """A name as words in small letters: BirthDate and birth-date are birth_date."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", apart.lower()).strip("_")


def guess(table: str, column: str, base: str) -> PiiRule | None:
    """The rule that a column calls for; None where nothing tells of a person.

    Args:
        base: as `SourceColumn.base`.
    """
    name = words(column)
    if base in _NETWORK:
        return "hash"
    if name == "name" and _PERSON.search(words(table)):
        return "drop"
    for rule, told in _RULES:
        if any(re.search(rf"(^|_){word}(_?\d+)?($|_hash$)", name) for word in told.split()):
            return rule
    return None
