-- Proves what the server does. Answers for what was refused: the command or the key, and why.

return prove()
