"""The node that speaks to language models: chats, and answers that fit a JSON Schema."""
