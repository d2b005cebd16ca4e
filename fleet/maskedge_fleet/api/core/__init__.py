"""Parts that all endpoints of the API share: access, errors, protection and pages of lists."""
