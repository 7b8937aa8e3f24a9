"""Every pattern of the policy, by name, and nothing else, so that `policy_digest` covers all of what is looked for.

`TRIGGERS` go into the set that every text passes: short, loose, without counters where possible, since they decide what
ordinary prose costs. `SPANS` are RE2 patterns that find candidates, `WORDS` are Python patterns that only ever see a
window of bounded length. All work on bytes (UTF-8 taken as Latin-1): letters outside ASCII are bytes from 0x80 up, and
0xfe and 0xff, which UTF-8 never has, are the canary and the barrier (see `placeholder`), which no class here includes.

Context words are English, German, French and Spanish; accents are optional where people leave them out.
"""

from __future__ import annotations

from typing import Final

# --- secrets with a head of their own: (head, rest) -------------------------------------------------------------------

_HEADED: Final = (
    (rb"sk-ant-", rb"[A-Za-z0-9_\-]{20,}"),
    (rb"sk-(?:proj|svcacct|admin|None|or-v1)-", rb"[A-Za-z0-9_\-]{20,}"),
    (rb"sk-", rb"[A-Za-z0-9]{20,}"),
    (rb"(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA)", rb"[A-Z0-9]{16}"),
    (rb"gh[pousr]_", rb"[A-Za-z0-9]{30,}"),
    (rb"github_pat_", rb"[A-Za-z0-9_]{22,}"),
    (rb"gl(?:pat|dt|rt|cbt|ptt|ft|oas|soat|imt|agent)-", rb"[A-Za-z0-9_\-.]{20,}"),
    (rb"xox[abeoprs]-", rb"[A-Za-z0-9\-.]{10,}"),
    (rb"xapp-[0-9]-", rb"[A-Za-z0-9\-]{10,}"),
    (rb"hooks\.slack\.com/(?:services|workflows)/", rb"[A-Za-z0-9/+]{20,}"),
    (rb"[rsp]k_(?:live|test)_", rb"[A-Za-z0-9]{16,}"),
    (rb"whsec_", rb"[A-Za-z0-9+/=]{24,}"),
    (rb"AIza", rb"[A-Za-z0-9_\-]{35}"),
    (rb"GOCSPX-", rb"[A-Za-z0-9_\-]{24,}"),
    (rb"ya29\.", rb"[A-Za-z0-9_\-.]{20,}"),
    (rb"npm_", rb"[A-Za-z0-9]{36}"),
    (rb"pypi-", rb"[A-Za-z0-9_\-]{50,}"),
    (rb"hf_", rb"[A-Za-z0-9]{30,}"),
    (rb"SG\.", rb"[A-Za-z0-9_\-]{16,32}\.[A-Za-z0-9_\-]{16,64}"),
    (rb"(?:AC|SK)", rb"[0-9a-f]{32}"),
    (rb"do[oprt]_v1_", rb"[a-f0-9]{60,}"),
    (rb"shp(?:at|ss|ca|pa)_", rb"[a-fA-F0-9]{32}"),
    (rb"key-", rb"[0-9a-f]{32}"),
    (rb"dckr_(?:pat|oat)_", rb"[A-Za-z0-9_\-]{20,}"),
    (rb"hv[sbr]\.", rb"[A-Za-z0-9_\-]{24,}"),
    (
        rb"(?:gsk|ntn|xai|pplx|nvapi|r8|lin_api|PMAK|glc|rubygems|sntrys|sntryu|fw|tvly|dp\.(?:pt|st|ct))[_\-.]",
        rb"[A-Za-z0-9_\-]{24,}",
    ),
    (rb"sq0(?:atp|csp)-", rb"[A-Za-z0-9_\-]{22,}"),
    (rb"AGE-SECRET-KEY-1", rb"[0-9A-Z]{58}"),
    (rb"dapi", rb"[a-f0-9]{32}"),
    (rb"ATATT3", rb"[A-Za-z0-9_\-=]{30,}"),
    (rb"AccountKey=", rb"[A-Za-z0-9+/]{80,}={0,2}"),
    (rb"SharedAccessKey=", rb"[A-Za-z0-9+/]{40,}={0,2}"),
    (rb"[?&]sig=", rb"[A-Za-z0-9%+/=\-_]{40,}"),
    (rb"[A-Za-z0-9_~.\-]{3}8Q~", rb"[A-Za-z0-9_~.\-]{31,34}"),
    (rb"bot[0-9]{8,10}:AA|\b[0-9]{8,10}:AA", rb"[A-Za-z0-9_\-]{33}"),
    (rb"discord(?:app)?\.com/api/webhooks/", rb"[0-9]{10,}/[A-Za-z0-9_\-]{40,}"),
)

# The first characters of the rest, so that "sk-" in "risk-averse" does not call the finder.
_HEADS: Final = (
    rb"\bsk-[A-Za-z0-9]|\b(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA)[A-Z0-9]{4}|gh[pousr]_[A-Za-z0-9]{4}|github_pat_|"
    rb"\bgl[a-z]{2,5}-[A-Za-z0-9_]|xox[a-z]-|xapp-|hooks\.slack|[rsp]k_(?:live|test)_|whsec_|AIza|GOCSPX|ya29\.|"
    rb"npm_[A-Za-z0-9]{4}|pypi-A|\bhf_[A-Za-z0-9]{4}|\bSG\.[A-Za-z0-9]|\b(?:AC|SK)[0-9a-f]{4}|\bdo[oprt]_v1|"
    rb"\bshp[a-z]{2}_|\bkey-[0-9a-f]{4}|dckr_|\bhv[sbr]\.|"
    rb"\b(?:gsk|ntn|xai|pplx|nvapi|r8|lin_api|PMAK|glc|rubygems|sntrys|sntryu|fw|tvly|dp\.(?:pt|st|ct))[_\-.][A-Za-z0-9]|"
    rb"\bsq0|AGE-SECRET|\bdapi[0-9a-f]|ATATT3|AccountKey=|SharedAccessKey=|[?&]sig=|8Q~|[0-9]:AA|api/webhooks"
)

# --- words that give what follows its meaning ------------------------------------------------------------------------

_BORN: Final = (
    rb"\bborn\b|\bd\.?o\.?b\b|birth[ _\-]?da(?:te|y)|date[ _\-]of[ _\-]birth|\bgeb(?:oren|urtsdatum|urtstag|\.)|"
    rb"\bn\xc3\xa9e?\b|\bn\xc3\xa9\(e\)|\bn\xc3\xa9e? le\b|naissance|nacimiento|\bnacid[oa]\b|\bnaci\xc3\xb3\b"
)
_NUMBER_WORD: Final = rb"(?:numbers?|num|nos?|nr|nbr|ids?|identifier|code|#|nummer|num(?:e|\xc3\xa9)ro|n\xc2[\xb0\xba])"
# Nouns that are followed by their number directly, and nouns that need a word such as "number" or "id" in between.
_HELD_DIRECTLY: Final = (
    rb"account|acct|a/c|konto|compte|cuenta|medical[ _\-]record|patient|mrn|akte|customer|kunden|"
    rb"member(?:ship)?|mitglieds?|"
    rb"policy|police|p[o\xc3\xb3]+liza|beneficiary|subscriber|passport|reisepass|passeport|pasaporte|"
    rb"driv(?:er|ing)(?:\xe2\x80\x99|')?s?[ _\-]licen[cs]e|licen[cs]e|f\xc3\xbchrerschein|permis|licencia|"
    rb"national[ _\-]id|id[ _\-]card|identity[ _\-]card|(?:personal)?ausweis|dni|steuer[ _\-]?id|nhs|nino|"
    rb"medicare|medicaid"
)
_HELD_BY_NUMBER: Final = (
    rb"record|chart|client|cliente|adherent|insurance|versicherungs?|assurance|seguro|routing|dl|nif|nie|"
    rb"tax(?:payer)?|vat|employee|personal|student|user|pass"
)
_CALL: Final = (
    rb"phone|telephone|\btel\b|mobile|\bcell\b|\bfax\b|call(?:ed|ing|s)? (?:me|us|him|her|them|back|on|at)|"
    rb"you can call|whats ?app|\bsms\b|texts? (?:me|us|him|her)|answering at|reach (?:me|us|him|her|them|you)|"
    rb"messages? to|registered|"
    rb"telefon|\bhandy|\bmobil|rufnummer|ruf(?:en|t)?\b|\bt\xc3\xa9l|\bportable|appele[zr]|tel\xc3\xa9fono|telefono|m\xc3\xb3vil|llam|"
    rb"contact (?:number|no)|hotline|\bdesk\b|\b(?:office|work|home)[ ]?(?:number|no\b|:|#)"
)
_SECRET_NAME: Final = (
    rb"passw(?:or)?d|passwort|kennwort|passphrase|\bpwd|\bpw\b|\bpass\b|[_\-]pass\b|"
    rb"secret(?:[ _\-]?key)?|token|api[ _\-]?key|apikey|"
    rb"(?:access|subscription)[ _\-]?key|auth[ _\-]?key|private[ _\-]?key|signing[ _\-]?key|encryption[ _\-]?key|"
    rb"master[ _\-]?key|account[ _\-]?key|"
    rb"credentials?|mot[ _\-]de[ _\-]passe|contrase(?:\xc3\xb1|n)a|\bclave\b"
)
_ASSIGNED: Final = rb"[ \t]{0,4}(?:=>|:=|==?|:)[ \t]{0,4}"
_SAID: Final = rb"[ \t]{1,4}(?:is|ist|est|es|lautet|was|set to)[ \t]{0,4}:?[ \t]{0,4}"

_MONTHS: Final = (
    rb"jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|m\xc3\xa4r|mai|okt|dez|janv|f\xc3\xa9v|fev|avr|juin|juil|ao\xc3\xbb|"
    rb"d\xc3\xa9c|ene|abr|ago|dic"
)
_DATE: Final = (
    rb"[0-9]{4}[ ]?[\-/.][ ]?[0-9]{1,2}[ ]?[\-/.][ ]?[0-9]{1,2}|"
    rb"[0-9]{1,2}[ ]?[\-/.][ ]?[0-9]{1,2}[ ]?[\-/.][ ]?(?:[0-9]{4}|[0-9]{2})|"
    rb"[0-9]{1,2}(?:st|nd|rd|th|er|\.)?[ \-]{1,2}(?:of |de )?(?:"
    + _MONTHS
    + rb")[a-z\x80-\xf4]{0,9}\.?,?[ \-](?:de |del )?[0-9]{4}|"
    rb"(?:" + _MONTHS + rb")[a-z\x80-\xf4]{0,9}\.?[ \-][0-9]{1,2}(?:st|nd|rd|th)?,?[ \-][0-9]{4}|[0-9]{8}"
)

# --- what every text is asked ----------------------------------------------------------------------------------------

# Between a word and what it announces: no end of a sentence, apart from abbreviations, and no counter, since counters
# multiply the states of the automaton.
_UP_TO: Final = rb"(?:[^0-9.\n?!;\xfe\xff]|\.[^ \n0-9\xfe\xff]|(?:n[or]|tel|geb|lic)\. )*(?::[ \t]*\r?\n[ \t]*)?"

TRIGGERS: Final[dict[str, bytes]] = {
    "long_number": rb"[0-9][0-9 ./()\-+]{7,}[0-9]|[0-9]{8}",
    "at": rb"[^\s\xfe\xff]@[A-Za-z0-9\x80-\xf4]",
    "iban": rb"\b[A-Za-z][A-Za-z][0-9][0-9][ \-]?[A-Za-z0-9][A-Za-z0-9]",
    "dotted": rb"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
    "colons": rb"[0-9A-Fa-f]:[0-9A-Fa-f]{0,4}:|::[0-9A-Fa-f]",
    "born": (
        rb"(?i)(?:" + _BORN + rb")[^0-9\n\xfe\xff]*(?:[0-9]{4} ?[\-/.] ?[0-9]|[0-9]{8}|"
        rb"[0-9]{1,2} ?[\-/.] ?[0-9]{1,2} ?[\-/.] ?[0-9]|[0-9]{1,2}(?:st|nd|rd|th)?,?[ \-][0-9]{4}|"
        rb"[0-9]{1,2}(?:st|nd|rd|th|er|\.)?[ \-]{1,2}(?:of |de )?(?:" + _MONTHS + rb"))"
    ),
    "held": (
        rb"(?i)(?:\b|_)(?:" + _HELD_DIRECTLY + rb"|" + _HELD_BY_NUMBER + rb")" + _UP_TO + rb"\.?[ ]?"
        rb"[0-9](?:[a-z0-9./\-]{3,}[0-9]|[0-9]*[ \-][0-9]|[0-9]{4})"
    ),
    "call": rb"(?i)(?:" + _CALL + rb")\.?" + _UP_TO + rb"[0-9][0-9 ./()\-]{4,}[0-9]",
    "named": rb"(?i)[0-9][0-9)]?[ \-]{1,3}\(?(?:office|mobile|fax|home|work|cell)\b",
    "headed": _HEADS,
    "jwt": rb"eyJ[A-Za-z0-9_\-]{8}",
    "private": rb"PRIVATE KEY",
    "bearer": rb"(?i)authorization|bearer[ \t]|x-api-key|api-key|\bcookie",
    "userinfo": rb"://[^\s/@:\"'<>\xfe\xff]*:[^\s/\"'<>\xfe\xff]*@",
    "assigned": rb"(?i)(?:"
    + _SECRET_NAME
    + rb")[A-Za-z0-9_\-]*(?:[\"'\\`*]*"
    + _ASSIGNED
    + rb"[^\s]|"
    + _SAID
    + rb"[^\s]*[0-9!$%&*#@_+=])",
    "lookalike": rb"<=?[A-Z][A-Z0-9_]*:[a-z2-7]{6}>",
    "escaped": (
        rb"\\[\\\"'/nrtbfux]|%[0-9A-Fa-f][0-9A-Fa-f]|&(?:#|[a-zA-Z]+;)|\xe2\x80[\x8b-\x8f\xaa-\xae]|\xe2\x81[\xa0-\xa4]|\xef\xbb\xbf|\xc2\xad|"
        rb"\xef\xbc[\x80-\xbf]|\xef\xbd[\x80-\x9e]|\xd9[\xa0-\xa9]|\xdb[\xb0-\xb9]|\xe0[\xa5\xa7\xa9\xab][\xa6-\xaf]|\xe0\xb9[\x90-\x99]|"
        rb"\xf0\x9d[\x90-\x9f]|[0-9)](?:[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2\xa0|\xe2\x80[\x80-\x95\xa8\xa9\xaf]|\xe2\x88\x92|\xe3\x80\x80)[0-9(]"
    ),
    "base64": rb"[A-Za-z0-9+/_\-]{16}",
}

# --- where candidates are --------------------------------------------------------------------------------------------

_GAP: Final = rb"[^0-9\n\xfe\xff]{0,40}?"
_EXTENSION: Final = rb"(?:[ ,]{0,2}(?:x|ext\.?|#) ?[0-9]{1,6})?"
_PHONE_START: Final = rb"[+(]{0,2}[0-9]"

SPANS: Final[dict[str, bytes]] = {
    "card": rb"[0-9](?:[ \-.+]{0,2}[0-9]){11,}",
    "ssn": rb"[0-9]{3}([ \-.]?)[0-9]{2}([ \-.]?)[0-9]{4}",
    "email": (
        rb"[A-Za-z0-9!$*'^~_%+.\-\x80-\xf4]+@"
        rb"[A-Za-z0-9\x80-\xf4](?:[A-Za-z0-9.\-\x80-\xf4]*[A-Za-z0-9\x80-\xf4])?\.[A-Za-z\x80-\xf4]{2,}"
    ),
    "iban": rb"\b[A-Za-z]{2}[0-9]{2}",
    "ipv4": rb"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}",
    "ipv6": rb"[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*",
    # International, North American, a zero and groups: one pass for all three. Without the word boundaries, the end of
    # one number would begin the next and swallow it.
    "phone": (
        rb"(?:\+|\b00 ?|\b011 ?)\(?[1-9](?:[ ./()\-]{0,3}[0-9]){6,14}" + _EXTENSION + rb"|"
        rb"(?:\b1[ .\-]?)?(?:\([2-9][0-9]{2}\)[ .\-]{0,2}|\b[2-9][0-9]{2}[ .\-])[2-9][0-9]{2}[ .\-][0-9]{4}"
        + _EXTENSION
        + rb"|"
        rb"(?:\(0[1-9][0-9]{0,4}\)|\b0[1-9][0-9]{0,4})(?:(?:[ ./\-]| [/\-] )[0-9]{2,6}){2,5}"
    ),
    "phone_nanp": (rb"(?:\([2-9][0-9]{2}\)[ .\-]{0,2}|[2-9][0-9]{2}[ .\-])[2-9][0-9]{2}[ .\-][0-9]{4}" + _EXTENSION),
    "phone_called": (
        rb"(?i)(?:" + _CALL + rb")[^0-9+(\xfe\xff]{0,30}(" + _PHONE_START + rb"(?:[ ./()\-]{0,3}[0-9]){5,14}"
        rb"" + _EXTENSION + rb")"
    ),
    "phone_named": rb"(?i)(\(?[0-9](?:[ ./()\-]{0,3}[0-9]){5,12}"
    + _EXTENSION
    + rb")[ \-]{1,3}\(?(?:office|mobile|fax|home|work|cell)\b",
    "born": rb"(?i)(?:" + _BORN + rb")" + _GAP + rb"\b(" + _DATE + rb")",
    "held": (
        rb"(?i)(?:\b|_)(?:(?:" + _HELD_DIRECTLY + rb")(?:s|')?(?:[ _\-.]{0,2}" + _NUMBER_WORD + rb")?|"
        rb"(?:" + _HELD_BY_NUMBER + rb")(?:s|')?[ _\-.]{0,2}" + _NUMBER_WORD + rb"|"
        rb"" + _NUMBER_WORD + rb"[ ]?d(?:e|u|el)[ ](?:la |l')?(?:" + _HELD_BY_NUMBER + rb"))"
        rb"[ \t]?(?:[.#:=\-\"'*`|(]{0,6}[ \t]{0,3}|:[ \t]{0,3}\r?\n[ \t]{0,3})"
        rb"(?:(?:with|has|is|was|ist|est|es|lautet|the|number|no\.?|id)[ \t]{1,2}){0,2}[:#=\"'*`|]{0,4}[ \t]{0,3}"
        rb"([A-Z]{0,4}[\-/]?[0-9](?:[A-Z0-9]|[\-/.][0-9]|[ ][0-9]{3}|[\-/][A-Z]{1,4}[\-/]?[0-9]){3,30})"
    ),
    "headed": rb"|".join(b"(?:" + head + b")" + rest for head, rest in _HEADED),
    "jwt": rb"eyJ[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*){2,4}",
    "private": rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z0-9 ]*-----",
    "private_body": (
        rb"(?:(?:\s|\\[nrt])+(?:(?:Proc-Type|DEK-Info|Version|Comment): [^\n\\\xfe\xff]+|[A-Za-z0-9+/=]{16,}))+"
        rb"(?:(?:\s|\\[nr])+[A-Za-z0-9+/=]+)?"
    ),
    "bearer": (
        rb"(?i)(?:\b(?:proxy-)?authorization|\bx-api-key|\bapi-key|"
        rb"\b(?:set-)?cookie)[\"'\\]{0,3}[ \t]{0,4}[:=][ \t]{0,4}[\"'\\]{0,3}"
        rb"(?:(?:bearer|basic|token|digest|apikey|negotiate|aws4-hmac-sha256)[ \t]{1,4})?([^\s\"'\\<>\xfe\xff]{6,})|"
        rb"\bbearer[ \t]{1,4}[\"']?([A-Za-z0-9._~+/\-]{12,}=*)"
    ),
    "userinfo": rb"://[^\s/@:\"'<>\xfe\xff]*:([^\s/\"'<>\xfe\xff]+)@",
    "assigned": (
        rb"(?i)(?:"
        + _SECRET_NAME
        + rb")[A-Za-z0-9_\-]*[\"'\\`*]{0,4}(?:"
        + _ASSIGNED
        + rb"(?:\\?\"([^\"\\\r\n\xfe\xff]+)|\\?'([^'\\\r\n\xfe\xff]+)|"
        rb"`([^`\r\n\xfe\xff]+)|\*{0,2}[ ]?([^\s\"'`,;<>()\[\]{}&\\\xfe\xff]+))|"
        + _SAID
        + rb"[\"'`*]{0,3}([^\s\"'`,;<>()\[\]{}\\\xfe\xff]+))"
    ),
    "lookalike": rb"<=?[A-Z][A-Z0-9_]*:[a-z2-7]{6}>",
    "base64": rb"[A-Za-z0-9+/_\-]{16,}(?:\r?\n[A-Za-z0-9+/_\-]{16,})*={0,2}",
}

# --- windows of bounded length, in Python's syntax -------------------------------------------------------------------

WORDS: Final[dict[str, bytes]] = {
    "card": (
        rb"card|(?<![a-z])cc(?![a-z])|visa|maestro|master ?card|amex|american express|discover|diners|jcb|"
        rb"karte|carte|tarjeta|tarj\.|"
        rb"(?<![a-z])pan(?![a-z])|kredit|payment"
    ),
    "card_before": rb"(?<![a-z])(?:card|cc|pan|visa|amex|number|no)$",
    "ssn": (
        rb"(?<![a-z])ssn|social[ _\-]?security|soc\.? ?sec|(?<![a-z])i?tin(?![a-z])|taxpayer|tax[ _\-]id|"
        rb"seguro social"
    ),
    "version": (
        rb"(?:(?:(?<![a-z])|(?<=\\[nrt]))(?:version|ver\.?|v\.?|release|build|firmware|revision|rev\.?|section|chapter|clause|art\.?|kapitel|"
        rb"abschnitt|oid|driver|upgraded? to|assembly|(?:chrome|safari|firefox|edg|opera|applewebkit)/?)|"
        rb"\xc2\xa7|==|>=|<=|~=|!=|[~^]|\s[<>]\s|[a-z]@)[\"']?\s{0,2}[:=]?\s{0,2}[\"'(]?v?$"
    ),
    "password_name": (
        rb"(?i)pass(?:w(?:or[dt])?|phrase)?|pwd|kennwort|mot[ _-]de[ _-]passe|contrase[^ ]{1,2}a|clave|\bpw"
    ),
    "variable": (
        rb"(?i)\$[{(]|\$[a-z_][a-z_]*$|\{\{?[ a-z_.]+\}|%[a-z_]+%?$|%\(|<|\[[ a-z_.]*\]|\*{3,}|x{4,}|\.{3}|"
        rb"(?:process|os|self|this|args|settings|env|config)\.|"
        rb"(?:your|my|the|some|example|placeholder|change|insert|enter|todo|dummy|redacted|masked|null|none|true|false|undefined|"
        rb"env|config|string|required|optional)(?:[_\-. ][_\-. a-z]*)?$"
    ),
    "identifier": rb"[A-Za-z_]{1,30}",
    "call": rb"[A-Za-z_][A-Za-z0-9_.]*\(",
    "path": rb"(?:[A-Za-z_][A-Za-z_0-9]*\.)+[A-Za-z_][A-Za-z_0-9]*$|(?:/[a-z0-9_.\-]+)+/?$|https?:",
    "quotes": rb"(?:\xe2\x80[\x98-\x9f]|\xc2[\xab\xbb])+",
    "ending": rb"(?:[.:!?*]|\xe2\x80[\x98-\x9f\xa6]|\xc2[\xab\xbb])+$",
    "escape": (
        rb"\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\[\\\"'/nrtbf0]|%[0-9A-Fa-f]{2}|&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[a-zA-Z]{2,8});|"
        rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\xa0\xad]|\xd9[\xa0-\xa9]|\xdb[\xb0-\xb9]|\xe0[\xa5\xa7\xa9\xab][\xa6-\xaf]|"
        rb"\xe0\xb9[\x90-\x99]|\xe2\x80[\x80-\x95\xa8-\xaf]|\xe2\x81[\x9f-\xaf]|\xe2\x88\x92|\xe3\x80\x80|\xef\xbb\xbf|"
        rb"\xef\xb9[\x90-\xab]|\xef\xbc[\x80-\xbf]|\xef\xbd[\x80-\xa0]|\xf0\x9d[\x90-\x9f][\x80-\xbf]"
    ),
}
