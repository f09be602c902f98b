"""`make mutants`: changes the code in small ways and looks whether a test notices.

A change that no test notices is a survivor: either a test is missing, or the change is on the
list of accepted ones with the reason.
"""
