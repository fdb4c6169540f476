"""What is stored: the catalog (SQLite, the only truth) and the FAISS cache made from it."""
