"""Makes Superset's tables, its roles and its admin; a second run brings a changed password."""

import os
from pathlib import Path

import superset
from flask_migrate import upgrade
from superset.app import create_app

app = create_app()
with app.app_context():
    # They know their database only within the application.
    from superset import security_manager
    from superset.extensions import appbuilder

    upgrade(directory=str(Path(superset.__file__).parent / "migrations"))
    appbuilder.add_permissions(update_perms=True)
    security_manager.sync_role_definitions()
    password = os.environ["SUPERSET_ADMIN_PASSWORD"]
    admin = security_manager.find_user("admin")
    if admin:
        security_manager.reset_password(admin.id, password)
    elif not security_manager.add_user(
        "admin", "Lakehouse", "Admin", "admin@localhost.localdomain",
        security_manager.find_role("Admin"), password=password,
    ):  # fmt: skip
        raise SystemExit("Superset's admin was not made: the log above tells why")
