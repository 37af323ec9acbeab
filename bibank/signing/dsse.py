"""DSSE envelopes: what an owner, operator or delegate signed beforehand, carried in a record.

The payload travels as a JSON object, and what is signed is the pre-authentication encoding (PAE)
over its canonical bytes: `DSSEv1 <length> <type> <length> <bytes>`. Every payload names its
ledger, so no envelope can be carried into another.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

import attrs

from bibank.errors import InvalidType, InvalidValue, excerpt
from bibank.journal.codec import MAX_LINE_BYTES, parse_object
from bibank.model.json_value import (
    BODY_LIMITS,
    FrozenMap,
    JsonValue,
    canonical_text,
    check_encodable_text,
    freeze,
)
from bibank.model.keyring import key_id_of
from bibank.model.signature import MAX_SIGNATURES
from bibank.signing.signer import Signer, signatures_of

_TYPE = "application/vnd.bibank.{kind}+json"
_KIND = re.compile(r"[a-z_]{1,64}", re.ASCII)
_NAMED = re.compile(rf"application/vnd\.bibank\.({_KIND.pattern})\+json", re.ASCII)


def payload_type(kind: str) -> str:
    """Name the media type of a kind of payload."""
    return _TYPE.format(kind=kind)


def pre_authentication_encoding(media_type: str, payload: bytes) -> bytes:
    """Give the bytes that are signed (DSSE protocol, PAE)."""
    name = media_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


def _check_kind(value: object) -> str:
    if not isinstance(value, str) or _KIND.fullmatch(value) is None:
        raise InvalidValue(f"{excerpt(value)} is no kind of envelope")
    return value


def _freeze_payload(value: Mapping[str, object]) -> FrozenMap:
    return freeze(value, BODY_LIMITS, check_text=check_encodable_text)


def _check_pairs(value: object) -> tuple[tuple[str, bytes], ...]:
    if not isinstance(value, tuple) or not all(map(_is_pair, value)):
        raise InvalidType("the signatures of an envelope are a tuple of pairs: key id, signature")
    return value


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == len(("key id", "signature"))
        and isinstance(value[0], str)
        and isinstance(value[1], bytes)
    )


@attrs.frozen(kw_only=True)
class Envelope:
    """A payload and the signatures over it: (key id, signature) pairs, one a key, sorted."""

    kind: str = attrs.field(converter=_check_kind)
    payload: FrozenMap = attrs.field(converter=_freeze_payload)
    signatures: tuple[tuple[str, bytes], ...] = attrs.field(converter=_check_pairs, default=())

    @property
    def message(self) -> bytes:
        """The bytes that every signature covers."""
        return pre_authentication_encoding(payload_type(self.kind), canonical_text(self.payload).encode())

    def signed_by(self, signer: Signer) -> Envelope:
        """Add a signature; `KeystoreError` when the signer fails, `InvalidType` for what is none."""
        if isinstance(signer, type) or not isinstance(signer, Signer):
            raise InvalidType(f"an envelope is signed by a Signer, not by {type(signer).__name__}")
        key_id = key_id_of(signer.public_key)
        others = tuple(pair for pair in self.signatures if pair[0] != key_id)
        (signature,) = signatures_of(signer, (self.message,), public_key=signer.public_key)
        return attrs.evolve(self, signatures=tuple(sorted((*others, (key_id, signature)))))

    def to_body(self) -> FrozenMap:
        """Give the envelope as a record carries it."""
        return FrozenMap(
            {
                "payload": self.payload,
                "payloadType": payload_type(self.kind),
                "signatures": tuple(
                    FrozenMap({"keyid": key_id, "sig": base64.b64encode(signature).decode()})
                    for key_id, signature in self.signatures
                ),
            }
        )

    def to_json(self) -> str:
        """Give the envelope as one line of JSON, to be sent to where it is signed or committed."""
        return canonical_text(self.to_body())

    @classmethod
    def from_json(cls, text: str) -> Envelope:
        """Read what :meth:`to_json` gives, or the same with other white space.

        Raises `InvalidType`, or `InvalidValue` kinds for what is no envelope. Whether its signatures hold,
        and what they are worth, is judged when it is committed.
        """
        if not isinstance(text, str):
            raise InvalidType(f"an envelope is read from a str, not {type(text).__name__}")
        if len(text) > MAX_LINE_BYTES:
            raise InvalidValue(f"{len(text)} characters; an envelope has at most {MAX_LINE_BYTES}")
        body = freeze(parse_object(text), BODY_LIMITS, check_text=check_encodable_text)
        named = str(body.get("payloadType"))
        found = _NAMED.fullmatch(named)
        if found is None:
            raise InvalidValue(f"{excerpt(named)} is no type of envelope")
        return cls.from_body(body, kind=found[1])

    @classmethod
    def from_body(cls, body: Mapping[str, JsonValue], *, kind: str) -> Envelope:
        """Read an envelope of a kind; `InvalidValue` for anything but its one spelling."""
        payload, listed = body.get("payload"), body.get("signatures")
        if set(body) != {"payload", "payloadType", "signatures"} or body["payloadType"] != payload_type(kind):
            raise InvalidValue(f"the body is no DSSE envelope of type {payload_type(kind)}")
        if (
            not isinstance(payload, FrozenMap)
            or not isinstance(listed, tuple)
            or len(listed) > MAX_SIGNATURES
        ):
            raise InvalidValue("the envelope's payload is an object, its signatures a list of up to 16")
        envelope = cls(kind=kind, payload=payload, signatures=tuple(map(_read_signature, listed)))
        names = [key_id for key_id, _ in envelope.signatures]
        if names != sorted(set(names)):
            raise InvalidValue("the envelope's signatures are not sorted, one a key")
        return envelope


def _read_signature(value: JsonValue) -> tuple[str, bytes]:
    if not isinstance(value, FrozenMap) or set(value) != {"keyid", "sig"}:
        raise InvalidValue("a signature of an envelope has keyid and sig")
    key_id, text = value["keyid"], value["sig"]
    if not isinstance(key_id, str) or not isinstance(text, str):
        raise InvalidValue("keyid and sig are texts")
    try:
        signature = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise InvalidValue("sig is not base64") from None
    if base64.b64encode(signature).decode() != text:
        raise InvalidValue("sig is not spelled canonically")
    return key_id, signature
