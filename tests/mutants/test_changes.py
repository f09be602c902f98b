"""The lines that a difference adds, and the mutations in them."""

from tools.mutants.changes import parsed, touches
from tools.mutants.operators import mutations_of

DIFF = """\
diff --git a/app/a.py b/app/a.py
index 1..2 100644
--- a/app/a.py
+++ b/app/a.py
@@ -3 +3 @@ def f():
-old
+new
@@ -10,0 +11,2 @@ def g():
+one
+two
@@ -20,2 +21,0 @@
-gone
-gone
diff --git a/app/b.py b/app/b.py
new file mode 100644
--- /dev/null
+++ b/app/b.py
@@ -0,0 +1,3 @@
+1
+2
+3
"""


def test_added_lines_are_known_by_file():
    assert parsed(DIFF) == {"app/a.py": {3, 11, 12}, "app/b.py": {1, 2, 3}}


def test_a_mutation_is_in_a_change_that_has_one_of_its_lines():
    code = "def f():\n    notify(\n        1,\n    )\n"
    (deleted,) = [
        each for each in mutations_of("app/a.py", code) if each.operator == "call-deleted"
    ]
    assert [touches(deleted, {"app/a.py": {line}}) for line in range(1, 6)] == [
        *(False, True, True, True, False)
    ]
    assert not touches(deleted, {"app/b.py": {2}})
