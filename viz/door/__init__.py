"""What every request passes on its way to the page: who comes in, with how much, asking what, and what goes out."""
