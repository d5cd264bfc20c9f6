"""Pictures: a house from above with its goal, plan and rules; the window, contact sheets, films, and driving by keyboard."""
