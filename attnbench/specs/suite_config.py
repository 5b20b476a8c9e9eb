def imported(text, file): return "", []
