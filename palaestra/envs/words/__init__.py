"""English: tasks are written (`language`, `writer`, `wordings`, `rulebook`) and read back (`parser`, `lexicon`, `nouns`); on the host."""
