"""Signers: whoever holds a private key. They see bytes, never entries.

So an HSM or a key service fits behind the same protocol: `ed25519-digest` keeps what it has to sign
short. What a signer other than `Ed25519Signer` returns is verified before it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn, Protocol, runtime_checkable

from bibank.errors import ConfigurationError, InvalidType, KeystoreError, excerpt
from bibank.model.keyring import check_signer_id
from bibank.model.signature import SignatureAlgorithm
from bibank.signing.verify import SIGNATURE_BYTES, verify_ed25519

SEED_BYTES = 32


@runtime_checkable
class Signer(Protocol):
    """Signs bytes with one private key.

    Obligations: the same key for its whole life; a failure raises, and never returns a signature
    of something else.
    """

    @property
    def signer_id(self) -> str:
        """The person or system that signs: `SYSTEM`, `ANNA_OPS`, `USER:ALICE`."""

    @property
    def algorithm(self) -> SignatureAlgorithm:
        """The scheme: what is signed, and with which curve."""

    @property
    def public_key(self) -> str:
        """The public key as 64 lower-case hex digits."""

    def sign(self, message: bytes) -> bytes:
        """Give the 64 bytes of a signature."""


@runtime_checkable
class BatchSigner(Signer, Protocol):
    """A signer that saves round trips when it gets many messages at once."""

    def sign_many(self, messages: Sequence[bytes]) -> Sequence[bytes]:
        """Sign each message; as many signatures, in the same order."""


class Ed25519Signer:
    """A signer whose seed is in this process (PyNaCl).

    The seed is held in one place, is not shown by `repr`, and cannot be pickled or copied. Python
    cannot promise that memory is wiped; keep keys that matter more in an HSM.
    """

    __slots__ = ("_algorithm", "_public_key", "_secret", "_signer_id")

    def __init__(
        self,
        seed: bytes,
        *,
        signer_id: str,
        algorithm: SignatureAlgorithm = SignatureAlgorithm.ED25519,
    ) -> None:
        from nacl.bindings import crypto_sign_seed_keypair

        self._signer_id = self._public_key = ""  # for repr, should what follows be refused
        fits = type(seed) is bytes and len(seed) == SEED_BYTES
        public_key, self._secret = crypto_sign_seed_keypair(seed) if fits else (b"", b"")
        seed = b""  # before anything is refused: not even a wrong secret may show in a traceback
        if not fits:
            raise KeystoreError(f"an Ed25519 seed is {SEED_BYTES} bytes")
        if not isinstance(algorithm, SignatureAlgorithm):
            raise InvalidType(f"algorithm is a SignatureAlgorithm, not {excerpt(algorithm)}")
        if algorithm is SignatureAlgorithm.SECP256K1:
            raise ConfigurationError("secp256k1 is reserved; this version signs with ed25519")
        self._public_key = public_key.hex()
        self._signer_id = check_signer_id(signer_id)
        self._algorithm = algorithm

    @property
    def signer_id(self) -> str:
        """The person or system that signs."""
        return self._signer_id

    @property
    def algorithm(self) -> SignatureAlgorithm:
        """The scheme."""
        return self._algorithm

    @property
    def public_key(self) -> str:
        """The public key in hex."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """Sign one message."""
        return self.sign_many((message,))[0]

    def sign_many(self, messages: Sequence[bytes]) -> list[bytes]:
        """Sign each message."""
        from nacl.bindings import crypto_sign

        if not all(type(message) is bytes for message in messages):
            raise InvalidType("a signer signs bytes")
        secret = self._secret
        try:
            return [crypto_sign(message, secret)[:64] for message in messages]
        finally:
            del secret

    def __repr__(self) -> str:
        return f"<Ed25519Signer {self._signer_id} {self._public_key[:8]}...>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise KeystoreError(
            "a signer holds a secret and is not copied or pickled; load it where it is needed"
        )

    def __copy__(self) -> NoReturn:
        self.__reduce_ex__(0)

    def __deepcopy__(self, memo: object) -> NoReturn:
        self.__reduce_ex__(0)


def signatures_of(signer: Signer, messages: Sequence[bytes], *, public_key: str) -> Sequence[bytes]:
    """Let a signer sign messages, and hold what it gives to its key.

    Raises `KeystoreError` when it fails, or gives anything but one good signature a message.
    """
    if type(signer) is Ed25519Signer:
        return signer.sign_many(messages)
    try:
        if isinstance(signer, BatchSigner):
            signatures = list(signer.sign_many(messages))
        else:
            signatures = [signer.sign(message) for message in messages]
    except KeystoreError:
        raise
    except Exception as error:
        raise KeystoreError(f"a signer failed: {type(error).__name__}") from error
    if len(signatures) != len(messages):
        raise KeystoreError(f"a signer gave {len(signatures)} signatures for {len(messages)} messages")
    key = bytes.fromhex(public_key)
    for message, signature in zip(messages, signatures, strict=True):
        if (
            type(signature) is not bytes
            or len(signature) != SIGNATURE_BYTES
            or not verify_ed25519(key, message, signature)
        ):
            raise KeystoreError(f"a signer gave a signature that its key {public_key} does not verify")
    return signatures
