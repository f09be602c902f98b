"""The JSON edge: one router per concept, and the one table of status codes."""
