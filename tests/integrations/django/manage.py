"""`manage.py` of the project; PyMySQL stands in for mysqlclient, as Django's users do it who have no compiler."""

import sys

import pymysql
from django.core.management import execute_from_command_line

if __name__ == "__main__":
    pymysql.install_as_MySQLdb()
    execute_from_command_line(["manage.py", *sys.argv[1:]])
