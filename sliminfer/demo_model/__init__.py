"""The training recipe of the model that ships with the project."""
