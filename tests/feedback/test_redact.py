"""What is taken for a secret, and what is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback import redact, redact_all

LONG = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0"
KEY = f"-----BEGIN RSA PRIVATE KEY-----\nMIIB{LONG}\n-----END RSA PRIVATE KEY-----"
SECRETS = [
    ("id = 'AKIAIOSFODNN7EXAMPLE'", "id = 'REDACTED'"),
    (f"git clone https://ghp_{LONG[:36]}@github.com", "git clone https://REDACTED@github.com"),
    (f"github_pat_{LONG}", "REDACTED"),
    ("xoxb-123456789012-abcdefghij", "REDACTED"),
    (f"pem = '''{KEY}'''", "pem = '''REDACTED'''"),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl", "REDACTED"),
    (f"eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.{LONG}", "REDACTED"),
    (f'{{"Authorization": "Bearer {LONG}"}}', '{"Authorization": "Bearer REDACTED"}'),
    (f"sk-proj-{LONG}", "REDACTED"),
    ("password = 'hunter2-Hunter3'", "password = 'REDACTED'"),
    ('config["api_key"] = "9f8e7d6c5b4a"', 'config["api_key"] = "REDACTED"'),
    ('{"db_password": "9f8e7d6c5b4a"}', '{"db_password": "REDACTED"}'),
    ("API_KEY: str = '9f8e7d6c5b4a'", "API_KEY: str = 'REDACTED'"),
    ("export SECRET_TOKEN=9f8e7d6c5b4a3f2e\n", "export SECRET_TOKEN=REDACTED\n"),
    ("postgres://me:s3cret@host/db", "postgres://me:REDACTED@host/db"),
]
PLAIN = [
    "def key(xs): return sorted(xs, key=len)",
    "token = tokens[index]",
    "password = getpass('Password: ')",
    "api_key = 'your_api_key_here'",
    "password = 'xxxxxxxx1'",
    "secret = os.environ['SECRET_TOKEN_1']",
    "the bearer of this letter",
    "http://localhost:8000/v1",
    "assert total(1, 2) == 3  # token 12345678",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "tokens=[1,2,3,4,5,6,7,8,9]",
]


@pytest.mark.parametrize(("text", "clean"), SECRETS)
def test_a_secret_is_replaced_and_nothing_else(text: str, clean: str) -> None:
    assert redact(text) == clean


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) is text or redact(text) == text


@given(st.lists(st.sampled_from([*(text for text, _ in SECRETS), *PLAIN]) | st.text(max_size=20)).map("\n".join))
def test_twice_is_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_all_texts_of_data_are_redacted() -> None:
    data = {"kind": "chat", "messages": [{"role": "user", "content": "AKIAIOSFODNN7EXAMPLE"}], "n": 1}
    assert redact_all(data) == {"kind": "chat", "messages": [{"role": "user", "content": "REDACTED"}], "n": 1}
