"""Training of the face net and the eye net: what one picture shows of one face
besides its expression. `scripts/train face --help` lists the steps in order."""
