-- Checks what the server allows. Answers what was refused: the command or the key, and why.

return prove()
