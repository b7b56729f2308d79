"""What an SDK's types know."""

import pydantic


def unknown_members(model: pydantic.BaseModel) -> list[str]:
    """Members, at any depth, that the SDK's types do not know."""
    found = list(model.model_extra or ())
    for value in model.__dict__.values():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, pydantic.BaseModel):
                found += unknown_members(part)
    return found
