-- Which execution last gave its job back, and how: a settlement whose answer was lost is known again when it is told anew. What
-- ended needs no mark: its row tells.
ALTER TABLE tikkun_jobs ADD COLUMN settled TEXT;
