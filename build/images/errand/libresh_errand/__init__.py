"""Does on a server outside what one claim needs there, once, and says in a sentence why it could not."""
