"""Hidden parameters: no trace in the schema, and nothing the model writes under such a name goes further."""

import copy
from typing import Any

import pytest

from agent_backend.mcp.choice import Fact
from agent_backend.mcp.parameters import hide_parameters

NAMES: dict[str, Fact] = {"user_id": "user_id", "access_token": "access_token"}
FACTS: dict[Fact, Any] = {"user_id": "alice", "access_token": "secret"}
TEXT = {"type": "string"}


def tool(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **more}


@pytest.mark.parametrize(
    ("schema", "visible"),
    [
        pytest.param(tool({"q": TEXT}), tool({"q": TEXT}), id="a tool without them stays as it is"),
        pytest.param({"type": "object"}, {"type": "object"}, id="a tool without parameters, too"),
        pytest.param(
            tool({"q": TEXT, "user_id": TEXT}, required=["q", "user_id"]),
            tool({"q": TEXT}, required=["q"]),
            id="properties and required",
        ),
        pytest.param(
            tool({"user_id": TEXT, "access_token": TEXT}, required=["user_id", "access_token"]),
            tool({}),
            id="nothing is left",
        ),
        pytest.param(tool({"userId": TEXT, "Access-Token": TEXT}), tool({}), id="other spellings of the same names"),
        pytest.param(
            tool({"user": tool({"user_id": TEXT})}),
            tool({"user": tool({"user_id": TEXT})}),
            id="inside another parameter it is another thing",
        ),
        pytest.param(
            tool({"q": TEXT, "user_id": TEXT}, anyOf=[{"required": ["user_id"]}, {"required": ["q"]}]),
            tool({"q": TEXT}, anyOf=[{}, {"required": ["q"]}]),
            id="alternatives",
        ),
        pytest.param(
            tool({"q": TEXT}, allOf=[tool({"user_id": TEXT})]),
            tool({"q": TEXT}, allOf=[tool({})]),
            id="parts of the same object",
        ),
        pytest.param(
            tool({"q": TEXT}, dependentRequired={"q": ["user_id"], "user_id": ["q"]}),
            tool({"q": TEXT}, dependentRequired={}),
            id="dependencies",
        ),
        pytest.param(
            tool({"q": TEXT}, examples=[{"q": "x", "user_id": "42"}], default={"user_id": "42"}),
            tool({"q": TEXT}),
            id="examples of the whole",
        ),
        pytest.param(
            tool(
                {"user_id": {"$ref": "#/$defs/Id"}, "q": {"$ref": "#/$defs/Query"}},
                **{"$defs": {"Id": TEXT, "Query": {"$ref": "#/$defs/Word"}, "Word": TEXT}},
            ),
            tool({"q": {"$ref": "#/$defs/Query"}}, **{"$defs": {"Query": {"$ref": "#/$defs/Word"}, "Word": TEXT}}),
            id="definitions only they used",
        ),
        pytest.param(
            {"$ref": "#/$defs/Input", "$defs": {"Input": tool({"q": TEXT, "user_id": TEXT})}},
            tool({"q": TEXT}),
            id="the whole is a reference",
        ),
        pytest.param(
            {
                **tool({"other": {"$ref": "#/$defs/Input"}}),
                "allOf": [{"$ref": "#/$defs/Input"}],
                "$defs": {"Input": tool({"user_id": TEXT})},
            },
            {
                **tool({"other": {"$ref": "#/$defs/Input"}}),
                "allOf": [tool({})],
                "$defs": {"Input": tool({"user_id": TEXT})},
            },
            id="a definition that another parameter uses keeps its own",
        ),
        pytest.param(
            {"type": "object", "$ref": "#/$defs/Loop", "$defs": {"Loop": {"allOf": [{"$ref": "#/$defs/Loop"}]}}},
            {
                "type": "object",
                "allOf": [{"$ref": "#/$defs/Loop"}],
                "$defs": {"Loop": {"allOf": [{"$ref": "#/$defs/Loop"}]}},
            },
            id="a reference to itself ends",
        ),
        pytest.param({"$ref": "https://x.test/s"}, {"$ref": "https://x.test/s"}, id="a reference elsewhere is left"),
        pytest.param({"$ref": "#/$defs/None"}, {"$ref": "#/$defs/None"}, id="a reference to nothing is left"),
    ],
)
def test_the_model_sees_no_trace_of_them(schema: dict[str, Any], visible: dict[str, Any]) -> None:
    """The rest of the schema says what it said, and the server's own copy is not touched."""
    before = copy.deepcopy(schema)

    hidden = hide_parameters(schema, NAMES)

    assert hidden.schema == visible
    assert schema == before


@pytest.mark.parametrize(
    ("properties", "asked", "sent"),
    [
        ({"q": TEXT}, {"q": "x"}, {"q": "x"}),
        ({"q": TEXT}, None, {}),
        ({"q": TEXT, "user_id": TEXT}, {"q": "x"}, {"q": "x", "user_id": "alice"}),
        ({"user_id": TEXT}, {"user_id": "bob"}, {"user_id": "alice"}),
        ({"user_id": TEXT}, {"userId": "bob", "USER-ID": "bob", "user id": "bob"}, {"user_id": "alice"}),
        ({"userId": TEXT}, {"userId": "bob", "user_id": "bob"}, {"userId": "alice"}),
        ({"q": TEXT}, {"q": "x", "user_id": "bob", "AccessToken": "other"}, {"q": "x"}),
        ({"user_id": TEXT, "access_token": TEXT}, {}, {"user_id": "alice", "access_token": "secret"}),
        ({"user": tool({})}, {"user": {"user_id": "bob"}}, {"user": {"user_id": "bob"}}),
    ],
)
def test_what_is_sent_is_the_users_whatever_the_model_wrote(
    properties: dict[str, Any], asked: dict[str, Any] | None, sent: dict[str, Any]
) -> None:
    """A page that talks a model into another's id gets the user's own."""
    before = copy.deepcopy(asked)

    assert hide_parameters(tool(properties), NAMES).fill(asked, FACTS) == sent
    assert asked == before


def test_a_fact_that_is_not_known_is_not_sent() -> None:
    """The server says what it lacks; nothing empty is passed off as the user's, and nothing of the model's."""
    hidden = hide_parameters(tool({"user_id": TEXT, "access_token": TEXT}), NAMES)

    assert hidden.fill({"access_token": "made up"}, {"user_id": "alice"}) == {"user_id": "alice"}


def test_parameters_found_in_parts_and_references_are_filled_in() -> None:
    """Wherever the schema keeps them."""
    schema = {"allOf": [{"$ref": "#/$defs/Who"}], "$defs": {"Who": tool({"userId": TEXT})}}

    assert hide_parameters(schema, NAMES).fill({}, FACTS) == {"userId": "alice"}
