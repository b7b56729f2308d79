"""The output limit a request sets, whichever format it is in."""

import pytest

from tollbook.providers.body import scan
from tollbook.providers.limits import asked_limit


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        (b"{}", None),
        (b'{"max_tokens":50}', 50),
        (b'{"max_tokens":50,"max_completion_tokens":20,"n":3}', 60),
        (b'{"max_tokens":10,"n":2,"best_of":4}', 40),
        (b'{"max_output_tokens":7}', 7),
        (b'{"max_tokens":"50"}', None),
        (b'{"max_tokens":null,"n":1}', None),
        (b'{"max_tokens":-1}', None),
        (b'{"max_tokens":1e400}', None),
        (b'{"generationConfig":{"maxOutputTokens":8,"candidateCount":2}}', 16),
        (b'{"generationConfig":{"maxOutputTokens":true}}', None),
        (b'{"generationConfig":[]}', None),
        (b'{"generation_config":{"max_output_tokens":8,"candidate_count":2}}', 16),
        (b'{"generation_config":{"maxOutputTokens":8}}', 8),
        (b'{"inferenceConfig":{"maxTokens":9}}', 9),
        (b'{"inferenceConfig":{"max_new_tokens":9}}', 9),
        (b'{"textGenerationConfig":{"maxTokenCount":6}}', 6),
        (b'{"max_gen_len":5,"prompt":"max_tokens"}', 5),
    ],
)
def test_the_limit_is_found(body: bytes, limit: int | None) -> None:
    """The least limit times the answers asked for; None where there is none or it is no number."""
    assert asked_limit(scan(body).values) == limit
