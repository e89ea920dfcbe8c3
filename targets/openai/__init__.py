"""Servers that speak OpenAI's API of completions and chats, streamed token by token."""
